"""Frames that are none yet: each refusal's advice, when it is followed, gives frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from fcnrt.contract.frames import checked_batch
from fcnrt.errors import FrameError
from packages import installed

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
PIXELS[0, 0] = 0, 128, 255
GREY = np.repeat(PIXELS[..., :1], 3, axis=-1)
BATCH = np.stack([PIXELS, PIXELS[::-1]])


def followed(advice: str, frames: object) -> np.ndarray:
    """What the expression at the end of an advice makes of the frames."""
    code = advice.rpartition("; ")[2].rpartition(": ")[2]
    return eval(code, {"np": np, "PIL": PIL, "frames": frames})


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (PIXELS / np.float32(255), PIXELS),
        (PIXELS.astype(np.float64), PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
        (np.round(PIXELS * (4095 / 255)).astype(np.uint16), PIXELS),
        (PIXELS > 127, (PIXELS > 127) * np.uint8(255)),
        (PIXELS[..., 0], GREY),
        (PIXELS[..., :1], GREY),
        (np.dstack([PIXELS, PIXELS[..., 0]]), PIXELS),
        (PIXELS.transpose(2, 0, 1), PIXELS),
        (BATCH.transpose(0, 3, 1, 2), BATCH),
        ([PIXELS, PIXELS[::-1]], BATCH),
        (PIL.Image.fromarray(PIXELS), PIXELS),
        *((torch.from_numpy(PIXELS), PIXELS) for torch in [installed("torch")] if torch),
    ],
)  # fmt: skip
def test_advice_makes_frames(frames: object, expected: np.ndarray) -> None:
    with pytest.raises(FrameError) as refusal:
        checked_batch(frames)
    text = str(refusal.value)
    assert text.startswith("frames: expected a uint8 numpy array (H, W, 3) or (N, H, W, 3), got ") and "\n" not in text
    made = followed(text, frames)
    np.testing.assert_array_equal(made, expected)
    checked_batch(made)


def test_a_path_is_read_as_advised(tmp_path: Path) -> None:
    path = tmp_path / "a picture's.png"
    PIL.Image.fromarray(PIXELS).save(path)
    for name in (path, str(path)):
        with pytest.raises(FrameError, match="got a path; read it: ") as refusal:
            checked_batch(name)
        np.testing.assert_array_equal(followed(str(refusal.value), name), PIXELS)


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (None, "got None, which is no picture; did cv2.imread not find"),
        (np.zeros((0, 5, 3), np.uint8), r"got \(0, 5, 3\), which is empty"),
        (np.zeros((5, 5, 5), np.uint8), r"got \(5, 5, 5\)$"),
        ((PIXELS / 255 - 0.5) / 0.25, "these were normalised already"),
        (np.full((5, 7, 3), np.nan), "these were normalised already"),
        (np.array([["a"]]), "convert them to pixel values"),
        (object(), "got object$"),
    ],
)
def test_what_cannot_be_made_frames_is_told(frames: object, text: str) -> None:
    with pytest.raises(FrameError, match=text):
        checked_batch(frames)


def test_frames_are_taken_as_they_are() -> None:
    assert checked_batch(PIXELS).base is PIXELS and checked_batch(BATCH) is BATCH
    assert np.shares_memory(checked_batch(BATCH[:, ::2, ::-1]), BATCH)
