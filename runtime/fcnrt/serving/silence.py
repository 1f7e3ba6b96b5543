"""Connections on which no request comes are closed, or a few hundred of them would keep everybody out."""

from __future__ import annotations

import asyncio
from typing import Any

HEAD_S = 20.0  # seconds that the first request's head may take
_PAUSE_S = 1.0  # between two looks


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
