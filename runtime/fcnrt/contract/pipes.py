"""Streams whose reader may go away."""

from __future__ import annotations

import contextlib
import os
from typing import IO, Any

READER_GONE = 141  # the status of a command whose reader went away, as shells give it for SIGPIPE


def silence(stream: IO[Any]) -> None:
    """Turn a broken stream into one that leads nowhere, or Python complains at its end of what it could not flush."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
