"""Bare pickles: torch.save's old format, which is several in a row, and pickle.dump of tensors or arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.serialization import MAGIC_NUMBER

from ..inert import Unpickler
from .torch_files import load


def read(path: Path) -> Any:
    """What a pickle holds; the last reader, so that everything else is taken for a damaged one."""
    with path.open("rb") as file:
        first = Unpickler(file, encoding="latin1").load()
    return load(path) if isinstance(first, int) and first == MAGIC_NUMBER else first
