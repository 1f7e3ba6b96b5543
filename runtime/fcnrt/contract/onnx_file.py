"""The ONNX file of a model: read, checked against the contract, cut to what an engine is to compute.

The exporter builds engines from it and the runtime runs it; `onnx` is imported when it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ModelFileError, needs
from .certificate import KEY, digest
from .files import atomic_path
from .graph_tail import check_tail
from .interface import Tensor
from .operators import check_operators, check_sizes, probed_shapes
from .precision import Precision
from .seal import PROPERTY, broken, graph_digest, read_seal, sealed, weights_digest
from .spec import EXPORT_AGAIN, PREFIX, ModelSpec
from .tail import check_geometry
from .weights import Place, properties, with_property, without_weights

PARITY = PREFIX + KEY
SCORES_RANK = 4
_CAST = "uint8", "int32", "uint16"  # outer types that engines make of, or into, floats: by one Cast
Fixed = tuple[int | None, int | None, int | None]  # batch, height, width; None where they are free


class OnnxFile:
    """An exported file in memory, to be changed before an engine is made of it.

    Args:
        path: the file's name, for messages.
        data: its bytes, with or without large weights; these are checked by `check_weights`.

    Attributes:
        proto: the onnx.ModelProto.
        spec: what the file says of itself.
        seal: None where it was made before there were any.
        fixed_shape: (batch, height, width) that the file was fixed to, None where it is free.
        scores_type: of the scores' elements.
        labels_type: of the labels' elements, a name of numpy's.

    Raises:
        ModelFileError: the file is damaged, changed, foreign, newer, or not self-contained.
        MissingDependency: onnx is not installed.
    """

    def __init__(self, path: Path, data: bytes):
        self.path = path
        skeleton, self._metadata = _taken_apart(path, data)
        self.seal = read_seal(self._metadata.get(PROPERTY), str(path))
        if self.seal is not None and graph_digest(skeleton) != self.seal.graph:
            raise broken(str(path))
        self.spec = ModelSpec.from_metadata(self._metadata, str(path))
        self.proto = _parsed(path, data)
        scores = _checked_scores(self.proto.graph, self.spec, path)
        self._check_graph(_parsed(path, skeleton))  # which copies what it looks at: no weights
        self.scores_type = precisions()[scores.type.tensor_type.elem_type]
        self.labels_type = _type_name(self.proto.graph.output[0])
        dims = _dims(self.proto.graph.input[0])
        batch, height, width = (dims[axis].dim_value or None for axis in self.spec.interface.frame_axes)
        self.fixed_shape: Fixed = batch, height, width

    def _check_graph(self, model: Any) -> None:
        """What the graph is made of, and whether it is the one that the facts speak of."""
        check_operators(model, self.path)
        shapes = probed_shapes(model, self.spec.min_size)
        check_sizes(shapes, self.path)
        check_tail(model.graph, self.spec.tail, str(self.path))
        scores, axes = shapes.get("scores", []), self.spec.interface.frame_axes
        if len(scores) == SCORES_RANK and all(scores[2:]):
            frames = [shapes["frames"][axis] for axis in axes]
            check_geometry(self.spec.tail, len(self.spec.classes), scores, frames, str(self.path))

    @property
    def parity(self) -> Any:
        """The certificate as it stands in the file, None where there is none."""
        text = self._metadata.get(PARITY)
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError):
            return text

    def check_weights(self, file: BinaryIO, places: Mapping[str, Place]) -> None:
        """Raise ModelFileError where the weights in the file, at these places, are not those that were sealed."""
        if self.seal is not None and weights_digest(file, places) != self.seal.weights:
            raise broken(str(self.path))

    @property
    def sealed(self) -> bool:
        return self.seal is not None

    @property
    def described(self) -> str:
        """What a certificate is bound to: the seal, or what a file that has none is as a whole.

        That is everything but metadata, and the facts, of which the tail makes labels.
        """
        if self.seal is not None:
            return digest(self.seal._asdict())
        facts = {key: value for key, value in self._metadata.items() if key.startswith(PREFIX) and key != PARITY}
        kept = list(self.proto.metadata_props)
        del self.proto.metadata_props[:]
        graph = self.proto.SerializeToString(deterministic=True)
        self.proto.metadata_props.extend(kept)
        return digest(graph, facts)

    def cut_at_scores(self) -> None:
        """Make `scores` the only output and drop what only the labels need: an engine would compute it all the same."""
        graph = self.proto.graph
        self.cut(list(graph.input), [next(value for value in graph.value_info if value.name == "scores")])

    def cut(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Drop what is not needed to compute some tensors from others, which are described as onnx.ValueInfoProto."""
        graph, given = self.proto.graph, {value.name for value in inputs}
        wanted, kept = {value.name for value in outputs}, []
        for node in reversed(graph.node):  # ONNX keeps them in order
            if (wanted - given) & set(node.output):
                wanted |= set(node.input)
                kept.append(node)
        _replace(graph.node, kept[::-1])
        for index in reversed(range(len(graph.initializer))):  # one by one: the others, which are large, stay in place
            if graph.initializer[index].name not in wanted:
                del graph.initializer[index]
        _replace(graph.input, list(inputs))
        _replace(graph.output, list(outputs))
        _replace(graph.value_info, [])  # of removed tensors, or known again by inference


def precisions() -> dict[int, Precision]:
    """Our names of ONNX's element types."""
    onnx = _onnx()
    return {onnx.TensorProto.FLOAT: Precision.FP32, onnx.TensorProto.FLOAT16: Precision.FP16}


def write_certificate(path: Path, record: dict[str, Any] | None) -> None:
    """Write a certificate's record into a file's metadata, or take it away; all else stays as it is.

    Raises:
        OSError: the file cannot be read or written.
    """
    data = with_property(path.read_bytes(), PARITY, None if record is None else json.dumps(record))
    with atomic_path(path.resolve()) as part:  # a link stays one
        part.write_bytes(data)


def seal_file(path: Path) -> bool:
    """Seal a file as it is now, which was changed on purpose; a certificate of what it was is taken away.

    Returns:
        Whether there was one.

    Raises:
        ModelFileError: it is no exported file any more.
        OSError: it cannot be read or written.
    """
    try:
        bare = with_property(path.read_bytes(), PROPERTY, None)
        plain = with_property(bare, PARITY, None)
    except ValueError as error:
        raise no_onnx_file(path) from error
    data = sealed(plain)
    OnnxFile(path, data)
    with atomic_path(path.resolve()) as part:
        part.write_bytes(data)
    return len(plain) < len(bare)


def _onnx() -> Any:
    with needs("onnx", "fcnrt[cpu]"):
        import onnx
    return onnx


def _taken_apart(path: Path, data: bytes) -> tuple[bytes, dict[str, str]]:
    """The file without its weights, and its properties."""
    try:
        return without_weights(data)[0], properties(data)
    except ValueError as error:
        raise no_onnx_file(path) from error


def no_onnx_file(path: Path) -> ModelFileError:
    """What to say of bytes that are none."""
    return ModelFileError(f"{path}: damaged or not an ONNX file; copy it again, or {EXPORT_AGAIN}")


def _parsed(path: Path, data: bytes) -> Any:
    onnx = _onnx()
    from google.protobuf.message import DecodeError  # onnx brings it

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise no_onnx_file(path) from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise ModelFileError(
            f"{path}: its weights lie in another file; expected one self-contained file, {EXPORT_AGAIN}"
        )
    return model


def _tensors(graph: Any) -> Iterator[Any]:
    """Every constant of a graph, also in nodes and subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _tensors(subgraph)


def _checked_scores(graph: Any, spec: ModelSpec, path: Path) -> Any:
    """The description of `scores`, in a graph with the interface that its file tells of: no cut goes wrong."""
    interface, classes = spec.interface, len(spec.classes)
    frames, output = interface.input_tensor(), interface.output_tensor(classes)
    scores = Tensor("scores", "float32", (None, classes, None, None))
    made = {name for node in graph.node for name in node.output}
    inner = [value for value in graph.value_info if value.name == "scores" and value.name in made]
    fits = (
        _is(graph.input, frames)
        and (_is(graph.output, output) or (interface.output == "labels" and _is(graph.output, _as_before(output))))
        and (_is(inner, scores) or _is(inner, replace(scores, dtype="float16")))
        and all(_behind_one_cast(graph, tensor) for tensor in (frames, output) if tensor.dtype in _CAST)
    )
    if not fits:
        got = "; ".join(" ".join(map(_text, values)) or "none" for values in (graph.input, graph.output, inner))
        raise ModelFileError(
            f"{path}: expected input {frames}, output {output}, integers behind one Cast, and inner tensor {scores}, "
            f"got {got}; changed by another tool, {EXPORT_AGAIN}"
        )
    return inner[0]


def _as_before(labels: Tensor) -> Tensor:
    """Labels of more than 256 classes in files of before their change to int32."""
    return replace(labels, dtype="uint16") if labels.dtype == "int32" else labels


def _behind_one_cast(graph: Any, tensor: Tensor) -> bool:
    """Whether a Cast alone makes a tensor, or reads it, but for those who ask for its shape."""
    nodes = [node for node in graph.node if tensor.name in (*node.input, *node.output) and node.op_type != "Shape"]
    return [node.op_type for node in nodes] == ["Cast"]


def _is(values: Sequence[Any], tensor: Tensor) -> bool:
    """Whether these values are this one tensor."""
    if [value.name for value in values] != [tensor.name] or _type_name(values[0]) != tensor.dtype:
        return False
    found = [dim.dim_value for dim in _dims(values[0])]
    return len(found) == len(tensor.sizes) and all(
        size in (None, got) for size, got in zip(tensor.sizes, found, strict=True)
    )


def _dims(value: Any) -> Any:
    return value.type.tensor_type.shape.dim


def _text(value: Any) -> str:
    sizes = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in _dims(value))
    return f"{value.name} {_type_name(value)} ({sizes})"


def _type_name(value: Any) -> str:
    """numpy's name of a tensor's element type, or onnx's where that is no type of numpy's."""
    name: str = _onnx().TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    return {"float": "float32"}.get(name, name)


def _replace(field: Any, items: list[Any]) -> None:
    del field[:]
    field.extend(items)
