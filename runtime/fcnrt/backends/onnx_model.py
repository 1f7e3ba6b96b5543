"""The ONNX file of a model, changed to what a session is to compute."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.onnx_file import Fixed, OnnxFile
from ..contract.profiles import DIMENSIONS
from ..contract.types import Shape
from ..errors import FrameError, ModelFileError, needs


class OnnxModel(OnnxFile):
    """An exported file in memory, to be changed before a session is made of it.

    Raises:
        ModelFileError: the file is damaged, foreign, newer, or not self-contained.
        MissingDependency: onnx is not installed.
    """

    def __init__(self, path: Path):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error
        super().__init__(path, data)

    def swap_channels(self) -> None:
        """Reverse the channels behind the first Transpose, where that moves three planes instead of every pixel."""
        onnx, graph = load_package("onnx"), self.proto.graph
        position, transpose = next(
            (index, node) for index, node in enumerate(graph.node) if node.op_type == "Transpose"
        )
        planes = f"{transpose.output[0]}_as_given"
        swap = onnx.helper.make_node("Gather", [planes, "reversed_channels"], [transpose.output[0]], axis=1)
        transpose.output[0] = planes
        graph.node.insert(position + 1, swap)
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "reversed_channels"))

    def handed_over(self) -> bytes:
        """The model as it stands, for a session, which copies it again; nothing is left here."""
        serialized: bytes = self.proto.SerializeToString()
        self.proto = None  # clearing it would keep its memory
        return serialized


def check_fixed_shape(shape: Shape, fixed: Fixed, path: Path) -> None:
    """Raise FrameError where a dimension is fixed in the file to another size."""
    for name, size, wanted in zip(DIMENSIONS, shape, fixed, strict=True):
        if wanted is not None and size != wanted:
            raise FrameError(
                f"frames: expected {name} {wanted} (fixed in {path.name}), got {size}; "
                f"resize, or export without --{name}"
            )


def load_package(name: str) -> Any:
    """A package of the `ort` extra; raises MissingDependency."""
    with needs(name, "ort"):
        return importlib.import_module(name)
