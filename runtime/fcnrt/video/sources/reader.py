"""What all sources share: one thread iterates them, any thread may close them."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator

from ...contract.closing import Closing
from ...errors import MediaError
from ..frames import Frame, FrameSource


class Reader(Closing, FrameSource):
    """A source that is read frame by frame: `_read` gives the next one, `_release` lets the file or device go.

    The decoder must not be freed under a read that is under way in another thread: `close` leaves it to that thread.
    """

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._reading = threading.Lock()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames not yet read; ends quietly after `close`, raises MediaError where they end too early."""
        while (frame := self._next()) is not None:
            yield frame

    def close(self) -> None:
        """Let the file or device go; may be called twice, and from another thread while it is iterated."""
        self._closing.set()
        if self._reading.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._reading.release()

    @abstractmethod
    def _read(self) -> Frame | None:
        """The next frame, or None at the end; raises MediaError."""

    @abstractmethod
    def _release(self) -> None:
        """Let the file or device go; may be called twice."""

    def _next(self) -> Frame | None:
        frame = None
        try:
            with self._reading:
                if not self._closing.is_set():
                    frame = self._read()
        except MediaError:
            if not self._closing.is_set():
                raise
        if not self._closing.is_set():
            return frame
        self.close()  # it came while we were reading, and left the rest to us
        return None
