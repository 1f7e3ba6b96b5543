"""Processes as users start them: in another folder, without pytest's paths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """This Python with the arguments `command`, in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
