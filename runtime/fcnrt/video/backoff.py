"""How often and after which pauses something that failed is tried again."""

from __future__ import annotations

from ..errors import MediaError

LONGEST_S = 30.0


class Backoff:
    """Pauses that double with each failure in a row, and the number of failures after which it is given up.

    Args:
        interval_s: seconds before the first new attempt.
        attempts: failures in a row after which it is given up; None: never.
        longest_s: seconds to pause at most.
    """

    def __init__(self, interval_s: float = 1.0, attempts: int | None = None, longest_s: float = LONGEST_S) -> None:
        self._interval_s, self._attempts, self._longest_s = interval_s, attempts, longest_s
        self.succeed()

    def succeed(self) -> None:
        """Begin anew with the shortest pause."""
        self._failures, self._pause_s = 0, self._interval_s

    def fail(self, reason: str) -> None:
        """Count a failure; raises MediaError with its reason where it was the last one allowed."""
        self._failures += 1
        if self._failures == self._attempts:
            count = f"; gave up after {self._attempts} attempts" if self._attempts != 1 else ""
            raise MediaError(f"{reason}{count}")

    def pause_s(self) -> float:
        """Seconds to pause now; the next pause is twice as long."""
        pause_s, self._pause_s = min(self._pause_s, self._longest_s), 2 * self._pause_s
        return pause_s
