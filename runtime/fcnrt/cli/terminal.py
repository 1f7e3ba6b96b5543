"""Lines for people at a terminal, and what they interrupt."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..contract.interrupts import INTERRUPTED, interrupts_handled_by
from ..errors import needs, one_line

INTERRUPTION = "fcnrt: interrupted; the files written so far are whole"

T = TypeVar("T")


def progress(items: Iterable[T], unit: str, total: int | None = None, hide: bool = False) -> Iterable[T]:
    """A progress bar on a terminal, nothing elsewhere."""
    with needs("tqdm"):
        from tqdm import tqdm
    return tqdm(items, unit=unit, total=total, disable=hide or None, leave=False)  # type: ignore[no-any-return]


def complain(text: str) -> None:
    """Print a line about what is wrong."""
    say(f"fcnrt: {one_line(text)}")


def say(text: str) -> None:
    """Print to the standard error, above the progress bars."""
    with needs("tqdm"):
        from tqdm import tqdm
    tqdm.write(text, file=sys.stderr)


def interrupts_end_at_once() -> contextlib.AbstractContextManager[None]:
    """For a time when nothing is half-written: an interrupt ends the process on the spot.

    Libraries that are being loaded, the engine's above all, crash where an exception meets them half-way.
    """
    return interrupts_handled_by(_end)


@contextlib.contextmanager
def warnings_in_lines() -> Iterator[None]:
    """Python's warnings as lines like all others, without the place in our code that they came from."""

    def show(message: object, *where: object, **more: object) -> None:
        print(f"fcnrt: {one_line(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _end(number: int, frame: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{INTERRUPTION}\n".encode())
    os._exit(INTERRUPTED)
