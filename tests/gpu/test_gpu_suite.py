"""What tests/gpu relies on; these few run without a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from frames import frames_of

from .agreement import SHAPES, Case, assert_agree


def test_frames_are_textured_and_the_same_every_time() -> None:
    for shape in SHAPES:
        frames = frames_of(*shape, seed=3)
        assert frames.shape == (*shape, 3) and frames.dtype == np.uint8 and frames.std() > 30
        np.testing.assert_array_equal(frames, frames_of(*shape, seed=3))


def case(lead: float) -> Case:
    """1,000 pixels of two classes; the first leads by 1, in the first 10 pixels by `lead`."""
    logits = np.zeros((1, 2, 10, 100))
    logits[:, 0] = 1
    logits[:, 0, 0, :10] = lead
    return Case(np.zeros((1, 10, 100, 3), np.uint8), np.zeros((1, 10, 100), np.uint8), logits)


@pytest.mark.parametrize(
    ("precision", "lead", "wrong", "agrees"),
    [("fp32", 1, 0, True), ("fp32", 1e-4, 1, False), ("fp16", 1e-4, 5, True), ("fp16", 1e-4, 6, False),
     ("fp16", 1, 1, True), ("fp16", 1, 2, False)],
)  # fmt: skip
def test_agreement_is_as_strict_as_it_says(precision: str, lead: float, wrong: int, agrees: bool) -> None:
    labels = np.zeros((1, 10, 100), np.uint8)
    labels[0, 0, :wrong] = 1
    if agrees:
        assert_agree(labels, case(lead), precision)
    else:
        with pytest.raises(AssertionError, match="of all labels"):
            assert_agree(labels, case(lead), precision)


def test_labels_of_another_type_or_shape_do_not_agree() -> None:
    for labels in (np.zeros((1, 10, 100), np.uint16), np.zeros((10, 100), np.uint8)):
        with pytest.raises(AssertionError):
            assert_agree(labels, case(1))
