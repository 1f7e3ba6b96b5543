"""A live source that outlives its connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from ...errors import MediaError
from ..backoff import LONGEST_S, Backoff
from ..frames import Frame, FrameSource
from .reader import Reader

_USUAL_RATE = Fraction(25)  # of streams that do not tell


class Reconnecting(Reader):
    """Opens a live source again whenever it fails, falls silent or ends; one that is not live is passed through.

    Before an attempt to connect it waits `interval` seconds, after each failure twice as long, up to `longest`; a frame
    sets that back. Numbers and times of frames go on, times by the clock. To the faults of all connections come
    "reconnections" and "seconds lost", those between the last frame of a connection and the first of the next.

    Args:
        open_source: opens a connection; raises MediaError.
        interval: seconds before the first attempt to connect again.
        attempts: failures in a row after which it is given up; None: never, except that the first connection is then
            tried once only, so that a mistyped address is told at once.
        longest: seconds to wait at most.
        wait: waits so many seconds and says whether `close` cut that short; a test's, to wait without waiting.

    Raises:
        MediaError: the first connection cannot be opened; later, when `attempts` are used up.
    """

    def __init__(
        self,
        open_source: Callable[[], FrameSource],
        *,
        interval: float = 1.0,
        attempts: int | None = None,
        longest: float = LONGEST_S,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        super().__init__()
        self._open, self._wait = open_source, wait or self._closing.wait
        self._backoff = Backoff(interval, attempts or 1, longest)
        self._fresh = True  # no frame has come by this connection yet
        self._connect()
        self._backoff = Backoff(interval, attempts, longest)
        self.name, self.size, self.rate = self._source.name, self._source.size, self._source.rate
        self.frame_count, self.color, self.live = self._source.frame_count, self._source.color, self._source.live
        self.pixel_aspect = getattr(self._source, "pixel_aspect", Fraction(1))
        self.notes: list[str] = getattr(self._source, "notes", [])
        self._last: tuple[Fraction, float] | None = None  # when the last frame was to be shown, and was decoded
        self._offset, self._number, self._began, self._lost_s = Fraction(0), 0, 0.0, 0.0
        self._survived = Counter[str]()  # by connections that are gone, and between them
        self.faults = self._survived + self._source.faults

    def close(self) -> None:
        """End it, from any thread; a read that is under way ends within the source's timeout."""
        super().close()
        self._source.close()

    def _read(self) -> Frame | None:
        while not self._closing.is_set():
            frame, reason = self._next_of_source()
            continued = self._continued(frame) if frame else None
            self.faults = self._survived + self._source.faults
            if continued or not self.live:
                return continued
            self._reconnect(reason)
        return None

    def _release(self) -> None:
        self._source.close()

    def _next_of_source(self) -> tuple[Frame | None, str]:
        """A frame, or None and why there is none."""
        try:
            return next(self._frames, None), f"{self.name}: the stream ended before its first frame"
        except MediaError as error:
            if not self.live:
                raise
            return None, str(error)

    def _continued(self, frame: Frame) -> Frame:
        """A frame with number and time as if there were one connection."""
        if self._fresh:
            self._offset = self._resumed(frame.decoded_at) - frame.time
        self._fresh = False
        self._backoff.succeed()
        continued = replace(frame, time=frame.time + self._offset, number=self._number)
        self._last, self._number = (continued.time, frame.decoded_at), self._number + 1
        return continued

    def _resumed(self, now: float) -> Fraction:
        """When the first frame of a connection is to be shown."""
        if self._last is None:
            self._began = now
            return Fraction(0)
        shown, decoded_at = self._last
        self._lost_s += now - decoded_at
        self._survived["seconds lost"] = round(self._lost_s)
        # By the clock each time, not after the last: what a server had in store came at once, and would add up.
        by_clock = Fraction(round((now - self._began) * 1_000_000), 1_000_000)
        return max(by_clock, shown + 1 / (self.rate or _USUAL_RATE))

    def _reconnect(self, reason: str) -> None:
        """Replace the connection; raises MediaError where that is given up."""
        self._source.close()
        if self._fresh:  # not a frame came by it
            self._backoff.fail(reason)
        self._wait(self._backoff.pause_s())
        lost = self._source
        if self._connect():
            self._survived += lost.faults
            self._survived["reconnections"] += 1

    def _connect(self) -> bool:
        """Open a connection, however often it takes; False where `close` came first."""
        while not self._closing.is_set():
            try:
                source = self._open()
            except MediaError as error:
                self._backoff.fail(str(error))
                self._wait(self._backoff.pause_s())
            else:
                self._source, self._frames, self._fresh = source, iter(source), True
                return True
        return False
