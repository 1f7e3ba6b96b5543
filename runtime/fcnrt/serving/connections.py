"""Connections: how many there may be, and that those on which no request comes do not keep everybody out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .guard import App

HEAD_S = 20.0  # seconds that the first request's head may take
_PAUSE_S = 1.0  # between two looks


def among(most: int, count: Callable[[], int], app: App) -> App:
    """An application around another one: who comes while more connections are open is told when to come again."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        chosen = _refusal(most) if scope["type"] == "http" and count() > most else app
        await chosen(scope, receive, send)

    return answer


def _refusal(most: int) -> Any:
    from starlette.responses import PlainTextResponse

    told = f"{most} connections are open, which is as many as may be\n"
    return PlainTextResponse(told, 503, {"Retry-After": "1", "Connection": "close"})


async def close_silent_ones(state: Any, idle_s: float) -> None:
    """Close them until this is cancelled; uvicorn itself waits for a first request and the rest of a head for ever.

    Args:
        state: what uvicorn's server knows of its connections.
        idle_s: seconds that one may wait for a further request.
    """
    seen = dict[Any, tuple[Any, float]]()  # connections that wait: their last request, and since when
    while True:
        await asyncio.sleep(min(_PAUSE_S, HEAD_S / 4))
        now, before, seen = asyncio.get_running_loop().time(), seen, {}
        for connection in filter(_waits, state.connections):
            request, since = before.get(connection, (None, now))
            seen[connection] = (connection.cycle, since if request is connection.cycle else now)
            if now - seen[connection][1] > (idle_s if connection.cycle else HEAD_S):
                connection.transport.close()


def _waits(connection: Any) -> bool:
    """Whether nothing is being answered there."""
    return connection.cycle is None or connection.cycle.response_complete
