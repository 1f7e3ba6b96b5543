"""Threads for what is neither the network's nor the event loop's: reading of requests, writing of answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


class Workers:
    """As many threads as there are cores, so that what came first is done first and not all a little at a time.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(_cores(), name)

    async def do(self, function: Callable[..., Made], *arguments: object) -> Made:
        """What a function gives for arguments, called in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Finish what was begun; may be called twice."""
        self._threads.shutdown()


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
