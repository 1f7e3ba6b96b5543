"""How a command ends that is interrupted, by Ctrl-C or SIGTERM alike, so that no file stays half-written."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130  # the status of a command that was


def heeded_interrupts() -> list[signal.Signals]:
    """The interrupts that are not ignored, as they are for a job in the background of a script."""
    return [number for number in INTERRUPTS if signal.getsignal(number) is not signal.SIG_IGN]


def raise_on_sigterm() -> None:
    """Let SIGTERM raise KeyboardInterrupt from now on, as Ctrl-C does."""
    if signal.SIGTERM in heeded_interrupts():
        signal.signal(signal.SIGTERM, _interrupt)


@contextlib.contextmanager
def interrupts_handled_by(handler: Callable[[int, Any], Any] | signal.Handlers) -> Iterator[None]:
    """While the block runs, interrupts go to a handler of `signal.signal`; main thread only."""
    before = {number: signal.signal(number, handler) for number in heeded_interrupts()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
