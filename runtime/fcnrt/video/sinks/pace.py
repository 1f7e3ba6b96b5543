"""Frames at the speed at which they are to be seen, for sinks that somebody watches meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

_LATE_S = 0.5  # behind which the rest is shown later, instead of faster than it is


class Pace:
    """Holds the frames of a source that gives them at once, as a file does, until they are due.

    Where they come later than that, since the network does not keep up, the film is stretched: what comes behind a
    frame that is late is due as much later.

    Args:
        live: whether the source has its own pace; then nothing is held.
        clock: `time.monotonic`, or a test's.
        sleep: `time.sleep`, or a test's.
    """

    def __init__(
        self,
        live: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._live, self._clock, self._sleep = live, clock, sleep
        self._origin_s: float | None = None  # on the clock, of a frame whose time is 0
        self._first_s = 0.0

    def hold(self, time: Fraction) -> Fraction:
        """Wait until a frame of this time is due; the time at which it is shown, in seconds."""
        if self._live:
            return time
        now = self._clock()
        if self._origin_s is None:
            self._origin_s = self._first_s = now - float(time)
        late_s = now - self._origin_s - float(time)
        if late_s > _LATE_S:
            self._origin_s += late_s
        elif late_s < 0:
            self._sleep(-late_s)
        return time + Fraction(round(1e6 * (self._origin_s - self._first_s)), 1_000_000)
