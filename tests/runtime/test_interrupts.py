"""An interrupt at any line of a call or a stream: the Segmenter labels on as before."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import fcnrt
from exports import Export
from frames import frames_of

FRAMES = frames_of(4, 37, 45)
OURS = str(Path(fcnrt.__file__).parent)


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line of ours that this thread runs in the block."""

    def __init__(self, line: int):
        self.left, self.hit = line, False

    def __enter__(self) -> InterruptAt:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: Any) -> bool:
        sys.settrace(None)
        return error[0] is KeyboardInterrupt

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line" and not self.hit and not safe_from_interrupts(frame):
            self.left -= 1
            if self.left <= 0:
                self.hit = True
                raise KeyboardInterrupt
        return self._trace


def safe_from_interrupts(frame: FrameType) -> bool:
    """Lines where a tracer may raise and an interrupt not: Python looks for it at calls and jumps alone.

    That is none between the end of a block and what its `with` or the first call of its `finally` does.
    """
    name, line = frame.f_code.co_filename, frame.f_lineno
    return linecache.getline(name, line).lstrip().startswith("with ") or "finally:" in linecache.getline(name, line - 1)


def call(segment: fcnrt.Segmenter) -> None:
    segment(FRAMES[0])


def call_of_another_shape(segment: fcnrt.Segmenter) -> None:
    segment(FRAMES[:2, :33, :41], confidence=np.empty((2, 33, 41), np.uint8))


def stream(segment: fcnrt.Segmenter) -> None:
    for _ in segment.stream(FRAMES, depth=3):
        pass


def stream_of_other_shapes(segment: fcnrt.Segmenter) -> None:
    def frames() -> Iterator[np.ndarray]:
        for index in range(3):
            yield np.ascontiguousarray(FRAMES[index, : 33 + index])

    for _ in segment.stream(frames(), depth=2):
        pass


@pytest.mark.parametrize("use", [call, call_of_another_shape, stream, stream_of_other_shapes])
def test_interrupts_leave_a_segmenter_whole(use: Callable[[fcnrt.Segmenter], None], exported: Export) -> None:
    segment = fcnrt.Segmenter(exported("tramac fcn8s"), device="cpu", threads=1)
    expected = segment(FRAMES)
    line = 1
    while True:
        with InterruptAt(line) as interrupt:
            use(segment)
        if not interrupt.hit:
            break
        if line % 3 == 1:
            assert np.array_equal(segment(FRAMES), expected), line
        assert all(
            np.array_equal(labels, wanted)
            for (_, labels), wanted in zip(segment.stream(FRAMES[:2]), expected[:2], strict=True)
        ), line
        line += 1
    assert line > 40
