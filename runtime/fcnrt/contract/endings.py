"""A program may end while a thread labels, but not before that call has: engines would take it for a crash."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Iterator

POLL_S = 0.001
_calls: dict[object, None] = {}  # that engines work on
_ending = threading.Event()


@contextlib.contextmanager
def before_the_end() -> Iterator[None]:
    """While the block runs the program does not end; a daemon thread that comes when it ends waits with it."""
    call = object()
    try:
        _calls[call] = None
        if _ending.is_set() and threading.current_thread().daemon:
            del _calls[call]
            threading.Event().wait()
        yield
    finally:
        _calls.pop(call, None)


def _wait() -> None:
    _ending.set()
    while _calls:
        time.sleep(POLL_S)


atexit.register(_wait)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.clear)  # of threads that stayed behind
