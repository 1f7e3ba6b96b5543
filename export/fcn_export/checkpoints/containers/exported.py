"""Files of torch.export.save: the weights alone, under the names that the network in Python gave them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from ...errors import ExportError
from ..pickles.builders import Storage, typed_view
from ..pickles.storages import Records
from .base import NOT_MINE, record

WEIGHTS = "data/weights/model_weights_config.json"
# Numbers of torch's schema for types, torch._export.serde.schema.ScalarType.
DTYPES = {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
          7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16}  # fmt: skip


def read(path: Path) -> Any:
    """The weights of an exported program, by name; its graph is not looked at.

    Raises:
        ExportError: the file is of an older version of torch, which wrote another layout.
    """
    if record(path, "serialized_exported_program.json"):
        raise ExportError(
            "a file of torch.export by torch 2.7 or older; export the state_dict() of the network that it was made from"
        )
    config = record(path, WEIGHTS)
    if config is None:
        return NOT_MINE
    folder = config.removesuffix("model_weights_config.json")
    with zipfile.ZipFile(path) as archive:
        entries, records = json.loads(archive.read(config))["config"], Records(path, archive)
        return {name: _tensor(folder, entry, records) for name, entry in entries.items()}


def _tensor(folder: str, entry: dict[str, Any], records: Records) -> torch.Tensor:
    if entry["use_pickle"]:
        raise ExportError("a file of torch.export with pickled weights; export the network's state_dict() instead")
    facts = entry["tensor_meta"]
    sizes, strides = ([number["as_int"] for number in facts[key]] for key in ("sizes", "strides"))
    storage = Storage(records.record(folder + entry["path_name"]), DTYPES[facts["dtype"]])
    return typed_view(storage, facts["storage_offset"]["as_int"], sizes, strides, storage.dtype)
