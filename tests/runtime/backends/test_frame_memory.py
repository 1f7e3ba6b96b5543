"""Frames that would not fit into memory are refused before anything is made of them."""

from __future__ import annotations

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.backends import frame_memory


@pytest.fixture
def segment(exported: Export) -> fcnrt.Segmenter:
    return fcnrt.Segmenter(exported("d2l fcn32s"), device="cpu", threads=1, tile="off")


def test_giant_frames_are_refused_and_what_is_proposed_fits(
    segment: fcnrt.Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_memory, "available_bytes", lambda: 2.0**31)
    giant = np.broadcast_to(np.uint8(0), (30000, 30001, 3))  # takes no memory by itself
    with pytest.raises(fcnrt.FrameError, match=r"1x30000x30001 .* GiB are free; give tiles of at most (\d+)x\1,"):
        segment(giant)
    batch = np.broadcast_to(np.uint8(0), (9000, 320, 480, 3))
    with pytest.raises(fcnrt.FrameError, match="or fewer at a time"):
        segment(batch)
    assert segment(np.zeros((64, 65, 3), np.uint8)).shape == (64, 65)


def test_tiles_that_do_not_fit_either(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    giant = np.broadcast_to(np.uint8(0), (30000, 30001, 3))
    with fcnrt.Segmenter(exported("d2l fcn32s"), device="cpu", threads=1, tile=9000) as segment:
        monkeypatch.setattr(frame_memory, "available_bytes", lambda: 2.0**30)
        with pytest.raises(fcnrt.FrameError, match=r"frames: 1x\d+x\d+ .* need at least"):
            segment(giant)
