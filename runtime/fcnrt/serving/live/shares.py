"""How much of the picture each class covers over the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...video.shares import Shares

SPAN_S = 60


@dataclass
class _Second:
    """The sum of the shares of the frames within a second."""

    number: int
    total: Any
    frames: int = 0


@dataclass
class MinuteOfShares:
    """Means of shares over the last minute, kept as a sum per second.

    Args:
        classes: how many there are.
        clock: `time.monotonic`, or a test's.
    """

    classes: int
    clock: Callable[[], float] = time.monotonic
    _seconds: deque[_Second] = field(default_factory=deque)

    def add(self, shares: Shares) -> None:
        """Take account of a frame that comes now."""
        now = int(self.clock())
        if not self._seconds or self._seconds[-1].number != now:
            self._seconds.append(_Second(now, np.zeros(self.classes)))
        self._seconds[-1].total += shares
        self._seconds[-1].frames += 1
        self._forget(now)

    @property
    def mean(self) -> Shares:
        """(classes,): the mean of all frames of the last minute; 0 where there was none."""
        frames = self.frames
        total: Shares = sum((second.total for second in self._seconds), np.zeros(self.classes))
        return total / max(1, frames)

    @property
    def frames(self) -> int:
        """How many frames came within the last minute."""
        self._forget(int(self.clock()))
        return sum(second.frames for second in self._seconds)

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0].number <= now - SPAN_S:
            self._seconds.popleft()
