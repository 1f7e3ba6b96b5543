"""Packages that some environments have and others have not."""

from __future__ import annotations

import importlib
from typing import Any


def installed(name: str) -> Any:
    """A module, None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def host_tensors(*shape: int) -> list[Any]:
    """torch's array of zeros in host memory, uint8; none without torch."""
    torch = installed("torch")
    return [torch.zeros(shape, dtype=torch.uint8)] if torch else []
