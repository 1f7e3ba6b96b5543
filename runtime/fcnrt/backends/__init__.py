"""Inference engines behind one interface, chosen by file suffix and imported only when chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..errors import ModelFileError
from ..spec import ModelSpec
from .base import Backend

__all__ = ["Backend", "open_backend", "read_spec"]


def open_backend(path: Path, device: str, threads: int | None, color: Literal["rgb", "bgr"] | None) -> Backend:
    """Load a model file into the engine for its suffix; the arguments are those of `Segmenter`.

    Raises:
        ModelFileError: there is no such file, or no engine for its suffix.
    """
    _check_path(path)
    from .ort import OrtBackend

    return OrtBackend(path, device, threads, color)


def read_spec(path: Path) -> ModelSpec:
    """What a model file says of itself, without an engine.

    Raises:
        ModelFileError: the file is missing, of an unknown suffix, damaged, foreign or newer.
    """
    _check_path(path)
    from .ort import load_model, spec_of

    return spec_of(load_model(path), path)


def _check_path(path: Path) -> None:
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; make it with: python export/to_onnx.py CHECKPOINT -o {path}")
    if path.suffix != ".onnx":
        raise ModelFileError(f"{path}: expected a .onnx file, got {path.suffix or 'no suffix'}; see export/to_onnx.py")
