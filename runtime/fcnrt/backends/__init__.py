"""Inference engines behind one interface, chosen by file suffix and imported only when chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..errors import ModelFileError
from .base import Backend

__all__ = ["Backend", "open_backend"]


def open_backend(path: Path, device: str, threads: int | None, color: Literal["rgb", "bgr"] | None) -> Backend:
    """Load a model file into the engine for its suffix; the arguments are those of `Segmenter`.

    Raises:
        ModelFileError: there is no such file, or no engine for its suffix.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; make it with: python export/to_onnx.py CHECKPOINT -o {path}")
    if path.suffix == ".onnx":
        from .ort import OrtBackend

        return OrtBackend(path, device, threads, color)
    raise ModelFileError(f"{path}: expected a .onnx file, got {path.suffix or 'no suffix'}; see export/to_onnx.py")
