"""The ONNX side of an engine: the exported file, checked, and cut or prepared for TensorRT's parser."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from onnx import ModelProto, ValueInfoProto, helper

from fcnrt.contract.kernel_records import labels_name
from fcnrt.contract.kinds import command_for
from fcnrt.contract.onnx_file import Fixed, OnnxFile, precisions
from fcnrt.contract.precision import Precision
from fcnrt.contract.spec import EXPORT_AGAIN, ModelSpec
from fcnrt.contract.types import Shape
from fcnrt.contract.weights import without_weights
from fcnrt.errors import first_line

from ..errors import ExportError
from ..graph.shapes import infer, skeleton, tensors
from .quantization import check_quantization, int8_weights

MAX_BYTES = 2**31 - 1  # of one protobuf file
MAX_ELEMENTS = 2**31 - 1  # of one tensor in TensorRT
PRECISIONS = precisions()
CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class EngineSource:
    """What an engine is built from.

    Attributes:
        sha256: of the file as it lies on disk.
        spec: what the file says of itself.
        model: the graph that TensorRT parses, whose only output is `output`.
        output: "scores", or "labels" where upsampling and argmax stay inside.
        scores: the type of the scores.
        fixed: batch, height and width where the file fixes them.
    """

    path: Path
    sha256: str
    spec: ModelSpec
    model: ModelProto
    output: Literal["scores", "labels"]
    scores: Precision
    fixed: Fixed

    @property
    def classes(self) -> int:
        return len(self.spec.classes)

    @property
    def labels(self) -> str:
        """Triton's name of the labels' type."""
        return labels_name(self.classes)

    @property
    def convolutions(self) -> Counter[str]:
        """How many convolutions of the graph have weights of each precision."""
        graph = self.model.graph
        types = {tensor.name: PRECISIONS.get(tensor.data_type, "unknown") for tensor in graph.initializer}
        types.update(dict.fromkeys(int8_weights(self.model), Precision.INT8))
        return Counter(types.get(node.input[1], "unknown") for node in graph.node if node.op_type in CONVOLUTIONS)


def read_source(path: Path, tail: str) -> EngineSource:
    """Read an exported file, check it, and make the graph for the parser.

    Args:
        path: an ONNX file that export/to_onnx.py wrote.
        tail: "kernel" to end the graph at `scores`, "graph" to keep it up to `labels`.

    Raises:
        ModelFileError: it is damaged, changed, not self-contained, not ours or newer.
        ExportError: it is too large, or cannot have this tail.
        OSError: it cannot be read.
    """
    data = _read(path)
    file = OnnxFile(path, data)
    file.check_weights(io.BytesIO(data), without_weights(data)[1])
    _check_graph(data, path)
    _check_interface(file)
    check_quantization(file.proto, path)
    if tail == "kernel":
        file.cut_at_scores()
    elif file.labels_type == "uint16":  # of before the change to int32
        raise ExportError(f"--tail graph: {path} has uint16 labels, which TensorRT cannot give; {EXPORT_AGAIN}")
    output, sha256 = file.proto.graph.output[0].name, hashlib.sha256(data).hexdigest()
    source = EngineSource(path, sha256, file.spec, file.proto, output, file.scores_type, file.fixed_shape)
    _check_precision(source)
    return source


def tensor_types(source: EngineSource) -> dict[str, Precision]:
    """The floating-point tensors of the graph by name."""
    return {
        value.name: PRECISIONS[value.type.tensor_type.elem_type]
        for value in _inferred(source.model, None)
        if value.type.tensor_type.elem_type in PRECISIONS
    }


def check_sizes(source: EngineSource, largest: Shape) -> int:
    """A lower bound of the memory that activations take at a frame shape.

    No layer runs without its input and its output: the bound is the largest sum of the two, over the convolutions,
    poolings and resizings. Layers that TensorRT fuses, or tensors that wait for a later one, are not counted.

    Returns:
        Bytes.

    Raises:
        ExportError: a tensor would have more elements than TensorRT counts.
    """
    shapes = {value.name: value for value in _inferred(source.model, largest)}
    for name, value in shapes.items():
        if _elements(value) > MAX_ELEMENTS:
            batch, height, width = largest
            raise ExportError(
                f"profile up to {batch}x{height}x{width}: tensor {name} of {source.path.name} would have "
                f"{_elements(value):.2g} elements, TensorRT counts up to {MAX_ELEMENTS:.2g}; lower the maximum"
            )
    heavy = (*CONVOLUTIONS, "MaxPool", "Resize")
    nodes = [node for node in source.model.graph.node if node.op_type in heavy]
    pairs = [(shapes.get(node.input[0]), shapes.get(node.output[0])) for node in nodes]
    return max((sum(_nbytes(value) for value in pair if value is not None) for pair in pairs), default=0)


def _read(path: Path) -> bytes:
    if path.suffix != ".onnx" and command_for(path):
        raise ExportError(f"{path}: expected an ONNX file{command_for(path)}")
    if path.stat().st_size > MAX_BYTES:
        raise ExportError(f"{path}: expected an ONNX file of less than 2 GiB, got {path.stat().st_size / 2**30:.1f}")
    return path.read_bytes()


def _check_graph(data: bytes, path: Path) -> None:
    try:
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(
            f"{path}: does not pass onnx.checker ({first_line(error)}); copy it again, or {EXPORT_AGAIN}"
        ) from error


def _check_interface(file: OnnxFile) -> None:
    interface = file.spec.interface
    if interface.planes or interface.output == "scores-float":
        raise ExportError(
            f"{file.path}: exported for other servers ({interface.input}, {interface.output}), which build engines of "
            "it themselves; for fcnrt export without --input and --output-type"
        )


def _check_precision(source: EngineSource) -> None:
    stated, found = source.spec.precision, source.convolutions
    if stated not in found:
        raise ExportError(
            f"{source.path}: says that it is {stated}, its convolutions are {', '.join(sorted(found)) or 'none'}; "
            f"{EXPORT_AGAIN}"
        )


def _inferred(model: ModelProto, frames: Shape | None) -> list[ValueInfoProto]:
    """Types, and as far as onnx can tell shapes, of all tensors; of frames of one shape where it is given."""
    bare = skeleton(model)
    if frames is not None:
        for dim, size in zip(bare.graph.input[0].type.tensor_type.shape.dim, frames, strict=False):
            dim.dim_value = size
        for value in bare.graph.output:
            value.type.tensor_type.ClearField("shape")
        # onnx cannot follow a computed padding; the next multiple of 32 is near enough for a bound
        constants = {tensor.name for tensor in bare.graph.initializer}
        for node in bare.graph.node:
            if node.op_type == "Pad" and node.input[1] not in constants:
                node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output))
    return tensors(infer(bare))


def _elements(value: ValueInfoProto) -> int:
    """0 where a dimension is unknown."""
    return math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _nbytes(value: ValueInfoProto) -> int:
    return _elements(value) * helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize
