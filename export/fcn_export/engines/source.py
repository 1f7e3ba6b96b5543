"""The ONNX side of an engine: the exported file, checked, and cut or prepared for TensorRT's parser."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # onnx brings it
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from fcnrt.errors import first_line

from ..errors import ExportError
from .shape_profiles import Fixed, Shape

FORMAT = 1  # the newest `fcn.*` metadata that is understood here
MAX_BYTES = 2**31 - 1  # of one protobuf file
MAX_ELEMENTS = 2**31 - 1  # of one tensor in TensorRT
PRECISIONS = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
CONVOLUTIONS = ("Conv", "ConvTranspose")
_AGAIN = "export the checkpoint again with export/to_onnx.py"
_SMALL = 64  # bytes of a constant that may be a shape; larger ones are weights


@dataclass(frozen=True)
class EngineSource:
    """What an engine is built from.

    Attributes:
        sha256: of the file as it lies on disk.
        facts: the file's `fcn.*` metadata, without the prefix.
        model: the graph that TensorRT parses, whose only output is `output`.
        output: "scores", or "labels" where upsampling and argmax stay inside.
        scores: "fp32" or "fp16", the type of the scores.
        fixed: batch, height and width where the file fixes them.
    """

    path: Path
    sha256: str
    facts: dict[str, Any]
    model: ModelProto
    output: str
    scores: str
    fixed: Fixed

    @property
    def classes(self) -> int:
        return len(self.facts["classes"])

    @property
    def labels(self) -> str:
        """ "u8", or "u16" for more than 256 classes."""
        return "u8" if self.classes <= 256 else "u16"

    @property
    def convolutions(self) -> Counter[str]:
        """How many convolutions of the graph have weights of each precision."""
        types = {tensor.name: tensor.data_type for tensor in self.model.graph.initializer}
        kernels = [node.input[1] for node in self.model.graph.node if node.op_type in CONVOLUTIONS]
        return Counter(PRECISIONS.get(types.get(kernel, 0), "unknown") for kernel in kernels)


def read_source(path: Path, tail: str) -> EngineSource:
    """Read an exported file, check it, and make the graph for the parser.

    Args:
        path: an ONNX file that export/to_onnx.py wrote.
        tail: "kernel" to end the graph at `scores`, "graph" to keep it up to `labels`.

    Raises:
        ExportError: it is damaged, not self-contained, not ours, newer, or cannot have this tail.
        OSError: it cannot be read.
    """
    data = _read(path)
    model = _parsed(data, path)
    facts = _facts(model, path)
    _check_contract(model, facts, path)
    scores = next(value for value in model.graph.value_info if value.name == "scores")
    precision = PRECISIONS[scores.type.tensor_type.elem_type]
    fixed = _fixed(model)
    if tail == "kernel":
        cut_at_scores(model)
    else:
        _check_labels_fit(facts, path)
    output = model.graph.output[0].name
    return EngineSource(path, hashlib.sha256(data).hexdigest(), facts, model, output, precision, fixed)


def cut_at_scores(model: ModelProto) -> None:
    """Make `scores` the only output, in place, and drop what only the labels need."""
    graph = model.graph
    scores = next(value for value in graph.value_info if value.name == "scores")
    wanted, kept = {"scores"}, []
    for node in reversed(graph.node):  # ONNX keeps them in order
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    _replace(graph.node, kept[::-1])
    for index in reversed(range(len(graph.initializer))):  # one by one: the others, which are large, stay in place
        if graph.initializer[index].name not in wanted:
            del graph.initializer[index]
    _replace(graph.output, [scores])
    _replace(graph.value_info, [])  # of removed tensors, or known again by inference


def tensor_types(source: EngineSource) -> dict[str, str]:
    """The floating-point tensors of the graph by name: "fp32" or "fp16"."""
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
    if path.stat().st_size > MAX_BYTES:
        raise ExportError(f"{path}: expected an ONNX file of less than 2 GiB, got {path.stat().st_size / 2**30:.1f}")
    return path.read_bytes()


def _parsed(data: bytes, path: Path) -> ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ExportError(f"{path}: damaged, or not an ONNX file; copy it again, or {_AGAIN}") from error
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise ExportError(f"{path}: its weights lie in another file, expected one self-contained file; {_AGAIN}")
    try:
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(
            f"{path}: does not pass onnx.checker ({first_line(error)}); copy it again, or {_AGAIN}"
        ) from error
    return model


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant of a graph, also in nodes and subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _tensors(subgraph)


def _facts(model: ModelProto, path: Path) -> dict[str, Any]:
    texts = {entry.key[4:]: entry.value for entry in model.metadata_props if entry.key.startswith("fcn.")}
    if "format" not in texts:
        raise ExportError(f"{path}: no fcn.* metadata, expected a file made by export/to_onnx.py; {_AGAIN}")
    try:
        facts = {key: json.loads(text) for key, text in texts.items() if key != "parity"}  # the ONNX file's own
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"not JSON: {error}") from error
    _check_format(facts["format"], path)
    for name, valid in _FACTS.items():
        if name not in facts:
            raise _invalid(path, f"{name} is missing")
        if not valid(facts[name]):
            raise _invalid(path, f"{name} is {facts[name]!r:.60}")
    return facts


def _check_format(number: Any, path: Path) -> None:
    if type(number) is not int or number < 1:
        raise _invalid(path, f"format is {number!r:.60}")
    if number > FORMAT:
        raise ExportError(
            f"{path}: fcn.format is {number}, expected at most {FORMAT}; use the build_engine.py of the clone that "
            "wrote it, or export again with this one"
        )


def _invalid(path: Path, what: str) -> ExportError:
    return ExportError(f"{path}: invalid fcn.* metadata ({what}); {_AGAIN}")


def _any(fact: Any) -> bool:
    return True


def _names(fact: Any) -> bool:
    return isinstance(fact, list) and 1 <= len(fact) <= 65536 and all(isinstance(name, str) for name in fact)


# What must be there. A build relies on three of the values; the runtime judges the others when it loads the engine.
_FACTS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("family", "variant", "palette", "color", "mean", "std", "scale", "tail"), _any),
    **dict.fromkeys(("checkpoint_sha256", "tool"), _any),
    "classes": _names,
    "min_size": lambda fact: type(fact) is int and fact >= 1,
    "precision": lambda fact: fact in PRECISIONS.values(),
}


def _check_contract(model: ModelProto, facts: dict[str, Any], path: Path) -> None:
    """Demand the input, output and inner tensor that every exported file has, so that no cut goes wrong."""
    graph, classes = model.graph, len(facts["classes"])
    made = {name for node in graph.node for name in node.output}
    inner = [value for value in graph.value_info if value.name == "scores" and value.name in made]
    label_type = TensorProto.UINT8 if classes <= 256 else TensorProto.UINT16
    if not (
        _is(graph.input, "frames", (TensorProto.UINT8,), (None, None, None, 3))
        and _is(graph.output, "labels", (label_type,), (None, None, None))
        and _is(inner, "scores", PRECISIONS, (None, classes, None, None))
        and [node.op_type for node in graph.node if "frames" in node.input and node.op_type != "Shape"] == ["Cast"]
        and [node.op_type for node in graph.node if "labels" in node.output] == ["Cast"]
    ):
        got = "; ".join(" ".join(_text(value) for value in values) for values in (graph.input, graph.output, inner))
        raise ExportError(
            f"{path}: expected input frames uint8 (N, H, W, 3), output labels (N, H, W), each behind one Cast, and "
            f"inner tensor scores float (N, {classes}, h, w), got {got}; another tool changed it, {_AGAIN}"
        )


def _is(values: Sequence[ValueInfoProto], name: str, types: Collection[int], sizes: tuple[int | None, ...]) -> bool:
    """Whether there is one tensor, of this name, one of these types and these sizes, where None is any."""
    if [value.name for value in values] != [name] or values[0].type.tensor_type.elem_type not in types:
        return False
    found = [dim.dim_value for dim in values[0].type.tensor_type.shape.dim]
    return len(found) == len(sizes) and all(size in (None, got) for size, got in zip(sizes, found, strict=True))


def _text(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
    return f"{value.name} {TensorProto.DataType.Name(tensor.elem_type).lower()} ({sizes})"


def _fixed(model: ModelProto) -> Fixed:
    batch, height, width = (dim.dim_value or None for dim in model.graph.input[0].type.tensor_type.shape.dim[:3])
    return batch, height, width


def _check_labels_fit(facts: dict[str, Any], path: Path) -> None:
    if len(facts["classes"]) > 256:
        raise ExportError(
            f"--tail graph: {path} has {len(facts['classes'])} classes, TensorRT can give labels of up to 256; "
            "use --tail kernel, whose labels are uint16"
        )


def _inferred(model: ModelProto, frames: Shape | None) -> list[ValueInfoProto]:
    """Types, and as far as onnx can tell shapes, of all tensors; of frames of one shape where it is given."""
    skeleton = _skeleton(model)
    if frames is not None:
        for dim, size in zip(skeleton.graph.input[0].type.tensor_type.shape.dim, frames, strict=False):
            dim.dim_value = size
        for value in skeleton.graph.output:
            value.type.tensor_type.ClearField("shape")
        # onnx cannot follow a computed padding; the next multiple of 32 is near enough for a bound
        for node in skeleton.graph.node:
            if node.op_type == "Pad":
                node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output))
    graph = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    return [*graph.input, *graph.value_info, *graph.output]


def _skeleton(model: ModelProto) -> ModelProto:
    """The model with its weights as inputs: half a gigabyte need not be copied to learn shapes."""
    graph = model.graph
    weights = [tensor for tensor in graph.initializer if len(tensor.raw_data) > _SMALL]
    names = {tensor.name for tensor in weights}
    inputs = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in weights]
    small = [tensor for tensor in graph.initializer if tensor.name not in names]
    bare = helper.make_graph(graph.node, graph.name, [*graph.input, *inputs], graph.output, small)
    return helper.make_model(bare, opset_imports=model.opset_import, ir_version=model.ir_version)


def _elements(value: ValueInfoProto) -> int:
    """0 where a dimension is unknown."""
    return math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _nbytes(value: ValueInfoProto) -> int:
    return _elements(value) * helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize


def _replace(field: Any, items: list[Any]) -> None:
    del field[:]
    field.extend(items)
