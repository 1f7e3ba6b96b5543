"""TorchScript: the parameters alone, under the names that the network in Python gave them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from ...errors import ExportError
from ..content import content_of
from ..inert import Unpickler
from .base import NOT_MINE, record

DTYPES = {"Float": torch.float32, "Half": torch.float16, "Double": torch.float64, "BFloat16": torch.bfloat16,
          "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
          "Bool": torch.bool}  # fmt: skip


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
    with zipfile.ZipFile(path) as archive:
        root = _load(archive, data)
    if not content_of(root).tensors:
        raise ExportError(f"a TorchScript file without parameters, as torch.jit.freeze makes them; {ADVICE}")
    return root


ADVICE = "export the state_dict() of the network that it was made from"


def _load(archive: zipfile.ZipFile, data: str) -> Any:
    unpickler = Unpickler(io.BytesIO(archive.read(data)), encoding="latin1")
    folder = data.removesuffix("data.pkl")

    def storage(saved: Any) -> torch.storage.TypedStorage:
        _, kind, key, _, _ = saved
        dtype = DTYPES[kind.__name__.removesuffix("Storage")]
        values = torch.frombuffer(bytearray(archive.read(f"{folder}data/{key}")), dtype=dtype)
        return torch.storage.TypedStorage(wrap_storage=values.untyped_storage(), dtype=dtype, _internal=True)

    unpickler.persistent_load = storage  # type: ignore[method-assign]
    return unpickler.load()
