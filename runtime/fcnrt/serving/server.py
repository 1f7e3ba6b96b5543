"""Serves labelled video to browsers and programs, from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection, Sequence
from itertools import count
from types import TracebackType
from typing import Any

from ..contract.types import UInt8Array
from ..errors import needs
from ..pictures.drawing import Drawing
from ..video.frames import FrameSource
from .address import Address, listening_socket, parse_address
from .app import Bell, Site
from .guard import Guard
from .stream import LiveStream

CLIENTS = 8

_STRANGERS = 24  # more connections than clients: for the page's own files, and programs that ask for pictures


class LiveServer:
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
        with needs("Starlette", "serve"):
            import starlette  # noqa: F401
        with needs("uvicorn", "serve"):
            import uvicorn  # noqa: F401
        address = parse_address(where)
        self._listener = listening_socket(address)
        self.address = Address(address.host, self._listener.getsockname()[1])
        self._token = token
        self._streams: dict[str, LiveStream] = {}
        self._bell, self._started = Bell(), threading.Event()
        self._site = Site(self._streams, clients, self._bell)
        self._server = self._made(clients)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fcnrt serve", daemon=True)
        self._thread.start()
        self._started.wait()

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
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join()

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _made(self, clients: int) -> Any:
        import uvicorn
        from starlette.applications import Starlette

        config = uvicorn.Config(
            Guard(Starlette(routes=self._site.routes), self.address, self._token),
            log_config=None,
            log_level="critical",
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=2 * clients + _STRANGERS,
            timeout_graceful_shutdown=1,
        )
        return uvicorn.Server(config)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        await self._server.serve(sockets=[self._listener])

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._loop.call_soon_threadsafe(self._bell.ring)

    def _end(self) -> None:
        self._server.should_exit = True
        self._bell.close()


def _free_name(name: str, taken: Collection[str]) -> str:
    """A name that no other stream has: two inputs may differ in what is not told, such as a password."""
    numbered = (f"{name} ({number})" for number in count(2))
    return name if name not in taken else next(each for each in numbered if each not in taken)
