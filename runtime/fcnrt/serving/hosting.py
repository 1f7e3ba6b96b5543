"""An application behind its guard, served from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection
from typing import Any

from ..errors import needs
from .address import Address, listening_socket, parse_address
from .connections import among, close_silent_ones
from .guard import App, Guard


class Host:
    """Serves an application until it is closed.

    Args:
        where: [HOST:]PORT; without a host this machine alone gets there, with port 0 it is any that is free.
        routes: makes Starlette's routes, once it is known to be installed.
        token: what clients must know; None: nothing.
        open_paths: where they need not know it.
        connections: that may be open at the same time; others are told to come again.
        idle_s: seconds that a connection may be kept open without a request.
        farewell_s: seconds that answers have to be finished in when it is closed.

    Attributes:
        address: where it listens.

    Raises:
        MediaError: it cannot listen there.
        MissingDependency: Starlette or uvicorn is not installed.
        ValueError: `where` is no [HOST:]PORT.
    """

    def __init__(
        self,
        where: str,
        routes: Callable[[], list[Any]],
        *,
        token: str | None,
        open_paths: Collection[str] = (),
        connections: int,
        idle_s: int = 5,
        farewell_s: int = 1,
    ) -> None:
        with needs("Starlette", "fcnrt[serve]"):
            from starlette.applications import Starlette
        with needs("uvicorn", "fcnrt[serve]"):
            import uvicorn  # noqa: F401
        address = parse_address(where)
        self._listener = listening_socket(address)
        self.address = Address(address.host, self._listener.getsockname()[1])
        guarded = Guard(Starlette(routes=routes()), self.address, token, open_paths)
        application = among(connections, lambda: len(self._server.server_state.connections), guarded)
        self._server, self._idle_s = _server(application, idle_s, farewell_s), idle_s
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fcnrt serve", daemon=True)
        self._thread.start()
        self._started.wait()

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the event loop's thread; nothing happens after the end."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """Send all clients away; may be called twice."""
        if self._thread.is_alive():
            self.call(self._end)
            self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        closing = asyncio.ensure_future(close_silent_ones(self._server.server_state, self._idle_s))
        await self._server.serve(sockets=[self._listener])
        closing.cancel()

    def _end(self) -> None:
        self._server.should_exit = True


def _server(application: App, idle_s: int, farewell_s: int) -> Any:
    import uvicorn

    config = uvicorn.Config(
        application,
        log_config=None,
        log_level="critical",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=idle_s,
        timeout_graceful_shutdown=farewell_s,
    )
    return uvicorn.Server(config)
