"""Frames that would not fit into memory are refused before anything is made of them."""

from __future__ import annotations

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.backends import frame_memory


@pytest.fixture
def segment(exported: Export) -> fcnrt.Segmenter:
    return fcnrt.Segmenter(exported("d2l fcn32s"), device="cpu", threads=1)


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


def test_memory_is_told_by_the_machine_and_by_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/meminfo": ["MemTotal:  9000 kB", "MemAvailable:    3000 kB"],
        "/sys/fs/cgroup/memory.max": ["2048000"],
        "/sys/fs/cgroup/memory.current": ["1024000"],
    }
    monkeypatch.setattr(frame_memory, "_lines", lambda path: texts[path])
    assert frame_memory.available_bytes() == 1024000
    texts["/sys/fs/cgroup/memory.max"] = ["max"]
    assert frame_memory.available_bytes() == 3000 * 1024
    texts["/proc/meminfo"] = []
    assert frame_memory.available_bytes() == float("inf")
