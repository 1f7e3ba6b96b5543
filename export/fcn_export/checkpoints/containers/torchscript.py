"""TorchScript: the parameters alone, under the names that the network in Python gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import ExportError
from ..content import content_of
from ..pickles.storages import zipped
from .base import NOT_MINE, record

ADVICE = "export the state_dict() of the network that it was made from"


def read(path: Path) -> Any:
    """The module of a file of torch.jit.save, as a shell; none of its code is compiled.

    Raises:
        ExportError: it holds no parameters by name.
    """
    if not (record(path, "constants.pkl") or record(path, "model.json")):
        return NOT_MINE
    data = record(path, "data.pkl")
    if data is None:
        raise ExportError(f"a TorchScript file of an old version; {ADVICE}")
    root = zipped(path, data)
    if not content_of(root).tensors:
        raise ExportError(f"a TorchScript file without parameters, as torch.jit.freeze makes them; {ADVICE}")
    return root
