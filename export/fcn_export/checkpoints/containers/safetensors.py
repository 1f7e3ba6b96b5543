"""safetensors: names and tensors, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcnrt.errors import first_line

from ...errors import ExportError
from .base import NOT_MINE, head


def read(path: Path) -> Any:
    """The tensors of a safetensors file."""
    begin = head(path)
    header_bytes = int.from_bytes(begin[:8], "little")
    if path.suffix != ".safetensors" and not (begin[8:9] == b"{" and header_bytes < path.stat().st_size):
        return NOT_MINE
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ExportError(f"damaged or not a safetensors file ({first_line(error)})") from error
