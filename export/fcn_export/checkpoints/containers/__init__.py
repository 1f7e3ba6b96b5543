"""The kinds of file that weights come in: one small reader each, tried in turn until one knows the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import archives, exported, folders, foreign, pickled, safetensors, torch_files, torchscript

Reader = Callable[[Path], Any]
# Each returns what the file holds, or NOT_MINE; each raises ExportError where it knows the file and cannot use it.
READERS: tuple[Reader, ...] = (
    folders.read,
    foreign.read,
    safetensors.read,
    torchscript.read,
    exported.read,
    torch_files.read_zip,
    archives.read,
    pickled.read,
)

__all__ = ["READERS"]
