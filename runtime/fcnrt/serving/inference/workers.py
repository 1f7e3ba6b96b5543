"""Threads for what is neither the network's nor the event loop's: reading of requests, writing of answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...contract.cores import logical_cores

Made = TypeVar("Made")


class Workers:
    """As many threads as there are cores, so that what came first is done first and not all a little at a time.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(logical_cores(), name)

    async def do(self, function: Callable[..., Made], *arguments: object) -> Made:
        """What a function gives for arguments, called in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Finish what was begun; may be called twice."""
        self._threads.shutdown()
