"""What a long measurement is doing, for whoever waits for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


def status(text: str = "") -> None:
    """Say on stderr what is being done now: on a terminal in place of the last such line, elsewhere as a line.

    Without a text the last one goes, before something else is printed.
    """
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:79]}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def status_line() -> Iterator[None]:
    """Take back the last `status` at the end, also where that is an error."""
    try:
        yield
    finally:
        status()
