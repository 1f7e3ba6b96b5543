"""The ONNX file of a model, changed to what a session is to compute."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.onnx_file import Fixed, OnnxFile, no_onnx_file
from ..contract.profiles import DIMENSIONS
from ..contract.spec import BYTES_TO_LABELS
from ..contract.types import Array, Shape
from ..contract.weights import mapped, without_weights
from ..errors import FrameError, ModelFileError, needs
from .other_interfaces import take_bytes_and_give_labels

if TYPE_CHECKING:
    from .network import Part
    from .tiling.locality import LocalTensor


class OnnxModel(OnnxFile):
    """An exported file's graph, to be changed before a session is made of it; large weights stay in the file.

    Attributes:
        file: the file itself, where `path` is a link to it.
        rewritten: whether the graph computes otherwise than the file's, and engines must be given it.

    Raises:
        ModelFileError: the file is damaged, foreign, newer, or not self-contained.
        MissingDependency: onnx is not installed.
    """

    def __init__(self, path: Path):
        try:
            self.file = path.resolve()
            self._status = _status(self.file)
            with mapped(self.file) as data:
                skeleton, self._places = without_weights(data)
        except OSError as error:
            raise _unreadable(path, error) from error
        except ValueError as error:
            raise no_onnx_file(path) from error
        super().__init__(path, skeleton)
        self.rewritten = self.spec.interface != BYTES_TO_LABELS
        if self.rewritten:
            take_bytes_and_give_labels(self)

    @property
    def described(self) -> str:
        return super().described if self.sealed else OnnxFile(self.path, self.file.read_bytes()).described

    def subject(self) -> str:
        """What a certificate is bound to, of a file whose weights are looked at; raises ModelFileError."""
        self.check_file()
        return self.described

    def reread(self) -> OnnxModel:
        """The same file again, where this one was cut for an engine; raises ModelFileError where it is another."""
        again = OnnxModel(self.path)
        if again._status != self._status:
            raise self._changed()
        return again

    @contextlib.contextmanager
    def being_loaded(self) -> Iterator[None]:
        """While an engine reads the weights in the block, they are held against the seal beside it.

        Raises:
            ModelFileError: they are not what was sealed, or the file was changed since its graph was read.
        """
        with ThreadPoolExecutor(1) as beside:
            checked = beside.submit(self.check_file)
            try:
                yield
            finally:
                checked.result()
        if _status(self.file) != self._status:
            raise self._changed()

    def check_file(self) -> None:
        """Raise ModelFileError where the weights in the file are not what was sealed."""
        try:
            with self.file.open("rb") as file:
                self.check_weights(file, self._places)
        except OSError as error:
            raise _unreadable(self.path, error) from error

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

    def cut_to(self, part: Part) -> None:
        """Drop what a part of the model does not need."""
        if not (part.inputs or part.outputs):
            return self.cut_at_scores()
        graph = self.proto.graph
        inputs, outputs = list(graph.input), [value for value in graph.value_info if value.name == "scores"]
        self.cut(_described(part.inputs) or inputs, _described(part.outputs) or outputs)

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

    def with_weights(self) -> bytes:
        """The model as it stands, in one piece."""
        complete = type(self.proto)()
        complete.CopyFrom(self.proto)
        for tensor in complete.graph.initializer:
            if tensor.name in self._places and not tensor.raw_data:
                tensor.raw_data = self.array(tensor).tobytes()
        serialized: bytes = complete.SerializeToString()
        return serialized

    def _changed(self) -> ModelFileError:
        return ModelFileError(f"{self.path}: was changed while it was being loaded; load it again")


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


def _unreadable(path: Path, error: OSError) -> ModelFileError:
    return ModelFileError(f"{path}: cannot be read ({error.strerror})")


def _status(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _described(tensors: Mapping[str, LocalTensor]) -> list[Any]:
    describe = load_package("onnx").helper.make_tensor_value_info
    return [describe(name, tensor.type, (None, tensor.channels, None, None)) for name, tensor in tensors.items()]


def load_package(name: str) -> Any:
    """A package of the `ort` extra; raises MissingDependency."""
    with needs(name, "fcnrt[cpu]"):
        return importlib.import_module(name)
