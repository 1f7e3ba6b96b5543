"""Shares and confidence of classes in a picture."""

from __future__ import annotations

import numpy as np
import pytest

from fcnrt.video.shares import class_confidence, class_shares

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shares_are_those_of_the_picture_and_add_up_to_1(dtype: type) -> None:
    labels = RNG.integers(0, 6, (17, 31)).astype(dtype)
    shares = class_shares(labels, 7)
    assert shares == pytest.approx([(labels == index).mean() for index in range(7)])
    assert shares.sum() == pytest.approx(1) and shares[6] == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_void_is_left_out(dtype: type) -> None:
    labels = np.full((4, 5), np.iinfo(dtype).max, dtype)
    assert class_shares(labels, 3).tolist() == [0, 0, 0]
    labels[0] = 1
    assert class_shares(labels, 3).tolist() == [0, 1, 0]


def test_confidence_is_the_mean_over_the_pixels_of_a_class() -> None:
    labels = RNG.integers(0, 3, (17, 31)).astype(np.uint8)
    confidence = RNG.integers(0, 256, (17, 31)).astype(np.uint8)
    labels[0], confidence[0] = 255, 7  # void
    means = class_confidence(labels, confidence, 4)
    assert means[:3] == pytest.approx([confidence[labels == index].mean() / 255 for index in range(3)])
    assert np.isnan(means[3])
