"""Presentation times that never fall, of streams whose own may."""

from __future__ import annotations

from fractions import Fraction

_BACKWARDS_S, _FORWARDS_S = Fraction(1, 2), 10  # a step beyond which a stream is taken to have started anew


class Clock:
    """Turns the times of a stream's frames, as they come, into seconds after its first frame.

    Where a stream starts anew, as recordings do that were joined end to end, the times go on one frame later.

    Args:
        step: seconds between frames, for those without a time.
        restarts: whether a large step forwards means a new start, too; else it is taken for a long frame.

    Attributes:
        offset: what is added to the times of the stream now; None before the first.
    """

    def __init__(self, step: Fraction, restarts: bool) -> None:
        self._step, self._restarts = step, restarts
        self.offset: Fraction | None = None
        self._last: Fraction | None = None

    def go_on(self, offset: Fraction, last: Fraction) -> None:
        """Begin in the middle of a stream, after a frame that was shown at `last`."""
        self.offset, self._last = offset, last

    def tell(self, seconds: Fraction | None) -> Fraction:
        """When a frame is to be shown whose time in the stream is `seconds`, or unknown."""
        following = Fraction(0) if self._last is None else self._last + self._step
        self._last = following if seconds is None else self._shown(seconds, following)
        return self._last

    def restarts_at(self, shown: Fraction, last: Fraction) -> bool:
        """Whether a stream has started anew where `shown` comes after `last`."""
        return shown < last - _BACKWARDS_S or (self._restarts and shown > last + _FORWARDS_S)

    def _shown(self, seconds: Fraction, following: Fraction) -> Fraction:
        if self.offset is None:
            self.offset = following - seconds
        shown, last = seconds + self.offset, self._last or Fraction(0)
        if self.restarts_at(shown, last):
            self.offset += following - shown
            return following
        return max(shown, last)
