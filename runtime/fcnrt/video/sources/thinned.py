"""A source of which not every frame is wanted, or not for ever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import ceil

from ..frames import Frame, FrameSource
from .reader import Reader


class Thinned(Reader):
    """Every Nth frame of a source, and none that is shown after a time; numbers and times stay as they are.

    Args:
        source: where the frames come from; closed with this.
        every: 1 for all of them, 2 for every other, and so on.
        length: seconds after which it ends, by the times of the frames, and of a live source by the clock as well; None
            for all that comes.
    """

    def __init__(self, source: FrameSource, every: int = 1, length: float | None = None) -> None:
        super().__init__()
        self._source, self._every = source, every
        self._length = None if length is None else Fraction(length).limit_denominator(1_000_000)
        self.name, self.size, self.color, self.live = source.name, source.size, source.color, source.live
        self.rate = source.rate and Fraction(source.rate) / every
        self.frame_count = self._expected_frames()
        self._frames = iter(source)
        self._timer = threading.Timer(length, self.close) if length is not None and source.live else None

    def __iter__(self) -> Iterator[Frame]:
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return super().__iter__()

    @property
    def faults(self) -> Counter[str]:  # type: ignore[override]
        """What the source has survived so far."""
        return self._source.faults

    @property
    def notes(self) -> list[str]:
        """What the source has noted."""
        return list(getattr(self._source, "notes", ()))

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        super().close()
        self._source.close()

    def _read(self) -> Frame | None:
        for frame in self._frames:
            if self._length is not None and frame.time >= self._length:
                return None
            if frame.number % self._every == 0:
                return frame
        return None

    def _release(self) -> None:
        self._source.close()

    def _expected_frames(self) -> int | None:
        count = self._source.frame_count
        if count is None or (self._length is not None and not self._source.rate):
            return None
        if self._length is not None and self._source.rate:
            count = min(count, ceil(self._length * self._source.rate))
        return ceil(count / self._every)
