"""The ONNX file of a model, changed to what a session is to compute."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.onnx_file import Fixed, OnnxFile
from ..contract.profiles import DIMENSIONS
from ..contract.types import Array, Shape
from ..errors import FrameError, ModelFileError, needs
from .weights import Place, without_weights


class OnnxModel(OnnxFile):
    """An exported file's graph, to be changed before a session is made of it; large weights stay in the file.

    Attributes:
        file: the file itself, where `path` is a link to it.

    Raises:
        ModelFileError: the file is damaged, foreign, newer, or not self-contained.
        MissingDependency: onnx is not installed.
    """

    def __init__(self, path: Path):
        try:
            self.file = path.resolve()
            self._status = _status(self.file)
            data, self._places = _read(self.file)
        except OSError as error:
            raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error
        super().__init__(path, data)

    def subject(self) -> str:
        return OnnxFile(self.path, self.file.read_bytes()).subject()

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

    def make_labels(self, dtype: type[np.unsignedinteger[Any]]) -> None:
        """Let the graph's last Cast make labels of this type."""
        data_type = load_package("onnx").helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        last = next(node for node in self.proto.graph.node if "labels" in node.output)
        next(attribute for attribute in last.attribute if attribute.name == "to").i = data_type
        self.proto.graph.output[0].type.tensor_type.elem_type = data_type

    def array(self, tensor: Any) -> Array:
        """The values of an initializer, wherever they lie."""
        if tensor.name in self._places and not tensor.raw_data:
            offset, length = self._places[tensor.name]
            with self.file.open("rb") as file:
                file.seek(offset)
                data = file.read(length)
            tensor = type(tensor)(dims=tensor.dims, data_type=tensor.data_type, raw_data=data)
        values: Array = load_package("onnx").numpy_helper.to_array(tensor)
        return values

    def with_references(self) -> bytes:
        """The model as it stands, for a session that finds the weights in the folder of `file`."""
        external = load_package("onnx").TensorProto.EXTERNAL
        for tensor in self.proto.graph.initializer:
            if tensor.name in self._places and not tensor.raw_data:
                place = self._places[tensor.name]
                for key, value in (("location", self.file.name), ("offset", place.offset), ("length", place.length)):
                    tensor.external_data.add(key=key, value=str(value))
                tensor.data_location = external
        serialized: bytes = self.proto.SerializeToString()
        return serialized

    def check_unchanged(self) -> None:
        """Raise ModelFileError where the file is another by now than the one whose graph was read."""
        if _status(self.file) != self._status:
            raise ModelFileError(f"{self.path}: was changed while it was being loaded; load it again")


def check_fixed_shape(shape: Shape, fixed: Fixed, path: Path) -> None:
    """Raise FrameError where a dimension is fixed in the file to another size."""
    batch, height, width = (wanted or size for wanted, size in zip(fixed, shape, strict=True))
    for name, size, wanted in zip(DIMENSIONS, shape, fixed, strict=True):
        if wanted is not None and size != wanted:
            by_hand = f"give {batch} at a time" if name == "batch" else f"use --input-size {height}x{width}"
            raise FrameError(
                f"frames: expected {name} {wanted} (fixed in {path.name}), got {size}; "
                f"{by_hand}, or export without --{name}"
            )


def _read(file: Path) -> tuple[bytes, dict[str, Place]]:
    """The model without its weights; what cannot be taken apart is for the parser, which knows what to say."""
    try:
        return without_weights(file)
    except ValueError:
        return file.read_bytes(), {}


def _status(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def load_package(name: str) -> Any:
    """A package of the `ort` extra; raises MissingDependency."""
    with needs(name, "cpu"):
        return importlib.import_module(name)
