"""The tests' networks and kernels: made here where torch and Triton are installed, else found in a prepared folder."""

from __future__ import annotations

import importlib
import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fcn_export.errors import ExportError

from . import prepare

FOLDER = "FCNRT_GPU_MODELS"  # the environment variable that names the folder


class Models:
    """ONNX files of the tiny networks.

    Args:
        scratch: folder for those that are exported here.
    """

    def __init__(self, scratch: Path):
        self._scratch = scratch
        self._exported: dict[tuple[str, str], Path] = {}

    def __call__(self, name: str, precision: str = "fp32") -> Path:
        folder = prepared_folder()
        if folder:
            return _existing(folder / prepare.file_name(name, precision))
        if find_spec("torch") is None:
            pytest.skip(f"no torch to export networks with, and no {FOLDER}; see tests/gpu/__init__.py")
        if (name, precision) not in self._exported:
            self._exported[name, precision] = prepare.export(name, precision, self._scratch)
        return self._exported[name, precision]


def kernel_records(sm: int) -> list[dict[str, Any]]:
    """The kernels for a compute capability: of the prepared folder, or compiled now; skips where there are none."""
    folder = prepared_folder()
    if folder and (folder / prepare.kernels_name(sm)).exists():
        records: list[dict[str, Any]] = json.loads((folder / prepare.kernels_name(sm)).read_text(encoding="utf-8"))
        return records
    from fcn_export.kernels.compiling import compile_kernels

    try:
        return compile_kernels([sm])
    except ExportError as error:
        pytest.skip(f"no kernels for compute capability {sm}, and none in {FOLDER}: {error}")


def prepared_folder() -> Path | None:
    """The folder that prepare.py filled, if one is named."""
    return Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None


def imported(name: str) -> Any:
    """A module, whose warnings while it is imported are its own affair; ImportError where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def _existing(path: Path) -> Path:
    assert path.is_file(), f"{path} is missing: make the folder again with tests/gpu/prepare.py"
    return path
