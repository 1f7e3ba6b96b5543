"""Lines for people at a terminal, and what they interrupt."""

from __future__ import annotations

import contextlib
import os
import sys

from ..contract.interrupts import INTERRUPTED, interrupts_handled_by
from ..errors import one_line

INTERRUPTION = "fcnrt: interrupted; the files written so far are whole"


def complain(text: str) -> None:
    """Print a line on the standard error."""
    print(f"fcnrt: {one_line(text)}", file=sys.stderr)


def interrupts_end_at_once() -> contextlib.AbstractContextManager[None]:
    """For a time when nothing is half-written: an interrupt ends the process on the spot.

    Libraries that are being loaded, the engine's above all, crash where an exception meets them half-way.
    """
    return interrupts_handled_by(_end)


def _end(number: int, frame: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{INTERRUPTION}\n".encode())
    os._exit(INTERRUPTED)
