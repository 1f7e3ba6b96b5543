"""Files of torch.save, read by the unpickler that runs no code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from ..inert import pickle_module
from .base import NOT_MINE, record


def read_zip(path: Path) -> Any:
    """A file as torch.save writes them since 1.6: a zip file."""
    return load(path, mmap=True) if record(path, "data.pkl") else NOT_MINE


def load(path: Path, mmap: bool = False) -> Any:
    """torch.load with our unpickler; text of Python 2 is read byte by byte, as its arrays need it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch remarks on sparse tensors and old formats
        return torch.load(
            path, map_location="cpu", weights_only=False, pickle_module=pickle_module(), mmap=mmap, encoding="latin1"
        )
