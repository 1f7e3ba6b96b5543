"""Bare pickles: torch.save's old format, which is several in a row, and pickle.dump of tensors or arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.serialization import MAGIC_NUMBER

from ..pickles.budget import Budget, most_bytes
from ..pickles.machine import Machine
from ..pickles.storages import behind, within


def read(path: Path) -> Any:
    """What a pickle holds; the last reader, so that everything else is taken for a damaged one."""
    budget = Budget(most_bytes(path.stat().st_size))
    with path.open("rb") as file:
        first = Machine(file, budget, stored=within).load()
        return behind(file, budget) if type(first) is int and first == MAGIC_NUMBER else first
