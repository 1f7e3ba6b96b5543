"""Serves labelled video to browsers and programs, from a thread of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count

from ...contract.closing import Closing
from ...contract.types import UInt8Array
from ...pictures.drawing import Drawing
from ...video.frames import FrameSource
from ..hosting import Host
from .app import Bell, Site
from .stream import LiveStream

CLIENTS = 8

_STRANGERS = 24  # more connections than clients: for the page's own files, and programs that ask for pictures


class LiveServer(Closing):
    """A page that shows streams in any browser, and their frames, labels and figures for programs; a context manager.

    Args:
        where: [HOST:]PORT; without a host this machine alone gets there, with port 0 it is any that is free.
        token: what clients must know; None: nothing.
        clients: how many may watch at the same time.

    Attributes:
        address: where it listens.

    Raises:
        MediaError: it cannot listen there.
        MissingDependency: Starlette or uvicorn is not installed.
        ValueError: `where` is no [HOST:]PORT.
    """

    def __init__(self, where: str, *, token: str | None = None, clients: int = CLIENTS) -> None:
        self._streams: dict[str, LiveStream] = {}
        self._bell = Bell()
        self._site = Site(self._streams, clients, self._bell)
        self._host = Host(where, lambda: self._site.routes, token=token, connections=2 * clients + _STRANGERS)
        self.address = self._host.address

    def stream(
        self,
        source: FrameSource,
        drawing: Drawing,
        classes: Sequence[str],
        palette: UInt8Array,
        told: Sequence[int] | None = None,
    ) -> LiveStream:
        """A sink whose frames are shown; see `LiveStream` for the arguments."""
        made = LiveStream(source, drawing, classes, palette, told)
        self._add(made)
        return made

    def _add(self, stream: LiveStream) -> None:
        """Show a stream, beside those that have not ended."""
        stream.announce = self._ring
        for name in [name for name, other in self._streams.items() if other.ended]:
            del self._streams[name]
        self._streams[_free_name(stream.name, self._streams)] = stream
        self._ring()

    @property
    def viewers(self) -> int:
        """How many watch the video now."""
        return self._site.viewers

    def close(self) -> None:
        """Send all clients away; may be called twice."""
        self._host.call(self._bell.close)
        self._host.close()

    def _ring(self) -> None:
        self._host.call(self._bell.ring)


def _free_name(name: str, taken: Collection[str]) -> str:
    """A name that no other stream has: two inputs may differ in what is not told, such as a password."""
    numbered = (f"{name} ({number})" for number in count(2))
    return name if name not in taken else next(each for each in numbered if each not in taken)
