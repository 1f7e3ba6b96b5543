"""Sources, Segmenters and sinks of a pipeline whose pace and faults a test decides."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from fcnrt.errors import BackendError
from fcnrt.video.frames import Frame, Labelled

SIZE = (3, 5)


class Source:
    """Frames whose pixels all hold their number modulo 256; `before` is called with the number of each."""

    name, size, rate, color = "stand-in", SIZE, Fraction(25), "rgb"

    def __init__(
        self, count: int, *, live: bool = False, before: Callable[[int], object] = lambda number: None
    ) -> None:
        self.frame_count, self.live, self.faults = count, live, Counter[str]()
        self._before = before
        self.closed = 0

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.frame_count):
            self._before(number)
            pixels = np.full((*SIZE, 3), number % 256, np.uint8)
            yield Frame(pixels, Fraction(number, 25), number, time.monotonic())

    def close(self) -> None:
        self.closed += 1


class Segmenter:
    """Labels that are the frame's red channel; `before` is called with that of each frame."""

    in_flight = 2

    def __init__(self, before: Callable[[int], object] = lambda red: None) -> None:
        self._before = before
        self.depths: list[int] = []

    def stream(self, frames: Iterable[Any], depth: int, *, pixels: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
        self.depths.append(depth)
        for frame in frames:
            self._before(int(pixels(frame)[0, 0, 0]))
            yield frame, pixels(frame)[..., 0]


class Sink:
    """Keeps the numbers of its frames; `before` is called with each when it is written."""

    in_main_thread = False

    def __init__(self, name: str = "sink", before: Callable[[int], object] = lambda number: None) -> None:
        self.name, self._before = name, before
        self.numbers: list[int] = []
        self.closed = 0

    def draw(self, labelled: Labelled) -> int:
        assert int(labelled.labels[0, 0]) == labelled.frame.number % 256  # each frame with its own labels
        return labelled.frame.number

    def write(self, drawn: int) -> None:
        self._before(drawn)
        self.numbers.append(drawn)

    def close(self) -> None:
        self.closed += 1


def failing_at(number: int, error: BaseException) -> Callable[[int], None]:
    """A `before` that raises `error` at one frame."""

    def before(now: int) -> None:
        if now == number:
            raise error

    return before


class HeldSegmenter:
    """For a server: labels that are the red channel, none before `go` is set.

    Attributes:
        began: whether a call has begun.
        shapes: of the labels of each call.
        observed: the frames and seconds of each call that a server was told of.
        refused: what it raises, if anything.
    """

    BAD = 200  # a red with which it fails
    classes, palette, device = ("road", "car"), np.array([[128, 64, 128], [0, 0, 142]], np.uint8), "cpu"

    def __init__(self) -> None:
        self.go, self.began = threading.Event(), threading.Event()
        self.shapes: list[tuple[int, ...]] = []
        self.observed: list[tuple[int, float]] = []
        self.refused: Exception | None = None

    def __call__(self, frames: Any) -> Any:
        self.began.set()
        self.go.wait()
        if self.refused:
            raise self.refused
        if (frames[..., 0] == self.BAD).any():
            raise BackendError("stand-in: cannot")
        self.shapes.append(frames.shape[:3])
        return frames[..., 0].copy()
