"""Frames of a live stream that is delivered in pieces, each at its time instead of all at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

_LATE_S = 0.1  # beyond which the schedule begins anew, so that what was missed does not come in a burst


class Pacer:
    """Waits until the time of a frame has come, by the clock since the first one.

    Args:
        wait: waits so many seconds.
        clock: `time.monotonic`, or a test's.
    """

    def __init__(self, wait: Callable[[float], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._wait, self._clock = wait, clock
        self._began: float | None = None

    def __call__(self, shown: Fraction) -> None:
        """Wait for the time of a frame that is to be shown so many seconds after the first."""
        now = self._clock()
        if self._began is None or now > self._began + float(shown) + _LATE_S:
            self._began = now - float(shown)
        self._wait(max(0.0, self._began + float(shown) - now))
