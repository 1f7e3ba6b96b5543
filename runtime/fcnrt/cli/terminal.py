"""Lines for people at a terminal, and what they interrupt."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130  # the status of a command that was
INTERRUPTION = "fcnrt: interrupted; the files written so far are whole"


def one_line(error: object) -> str:
    """The text of an error, control characters escaped: file names may hold any."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(error))


def heard() -> list[signal.Signals]:
    """The interrupts that are not ignored, as they are for a job in the background of a script."""
    return [number for number in INTERRUPTS if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def interrupts_end_at_once() -> Iterator[None]:
    """For a time when nothing is half-written: an interrupt ends the process on the spot.

    Libraries that are being loaded, the engine's above all, crash where an exception meets them half-way.
    """
    before = {number: signal.signal(number, _end) for number in heard()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{INTERRUPTION}\n".encode())
    os._exit(INTERRUPTED)
