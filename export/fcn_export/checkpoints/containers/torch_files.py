"""Files of torch.save, read without torch's own loader: it allocates what a file declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..pickles.storages import zipped
from .base import NOT_MINE, record


def read_zip(path: Path) -> Any:
    """A file as torch.save writes them since 1.6: a zip file."""
    name = record(path, "data.pkl")
    return NOT_MINE if name is None else zipped(path, name)
