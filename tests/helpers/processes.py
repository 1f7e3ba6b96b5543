"""Processes as users start them: in another folder, without pytest's paths."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """This Python with the arguments `command`, in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


class Server(Protocol):
    """What runs in a process of its own between two calls."""

    def start(self) -> None: ...

    def kill(self) -> None: ...


Kind = TypeVar("Kind", bound=Server)


@contextlib.contextmanager
def running(server: Kind) -> Iterator[Kind]:
    """The server, started, and gone at the end."""
    server.start()
    try:
        yield server
    finally:
        server.kill()
