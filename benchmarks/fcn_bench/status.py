"""What a long measurement is doing, for whoever waits for it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from fcnrt.errors import one_line, print_line


def status(text: str = "") -> None:
    """Say on stderr what is being done now: on a terminal in place of the last such line, elsewhere as a line.

    Without a text the last one goes, before something else is printed.
    """
    if sys.stderr.isatty():
        print(f"\r\x1b[K{one_line(text)[:79]}", end="", file=sys.stderr, flush=True)
    elif text:
        print_line(text, file=sys.stderr, flush=True)


def progress(what: str, done: int, total: int, started: float) -> None:
    """Say on a terminal how far a measurement is, and how long it still takes; nothing elsewhere.

    Args:
        what: is counted.
        done, total: of it; more than `total` may be done.
        started: on the clock of time.perf_counter.
    """
    if sys.stderr.isatty():
        left_s = max(total - done, 0) * (time.perf_counter() - started) / done
        status(f"{what} {done} of {total}, {left_s:.0f} s left")


@contextlib.contextmanager
def status_line() -> Iterator[None]:
    """Take back the last `status` at the end, also where that is an error."""
    try:
        yield
    finally:
        status()
