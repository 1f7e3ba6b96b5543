"""What a graph of export/to_onnx.py is made of; anything else in a file, a loop or a giant tensor say, is not run.

Numbers in our graphs are small: kernels, strides and paddings of some dozens. So bounds on attributes and constants
keep what a graph can ask for in proportion to its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from .spec import EXPORT_AGAIN

OPERATORS = frozenset(
    (
        "Add", "ArgMax", "Cast", "Concat", "ConstantOfShape", "Conv", "ConvTranspose", "DepthToSpace",
        "DequantizeLinear", "Gather", "MaxPool", "Mod", "Mul", "Neg", "Pad", "QuantizeLinear", "Relu", "Reshape",
        "Resize", "Shape", "Slice", "Sub", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
MAX_NODES = 4096
MAX_NUMBER = 1024  # in an attribute: a kernel's side, a stride, a padding
MAX_NUMBERS = 64  # in a list of them, and in a tensor that is made of a constant
MAX_SCALE = 64  # of a Resize: the largest stride of a network is 32
MAX_SIZE = 1 << 16  # in constants that are sizes
MAX_ELEMENTS = 1 << 28  # of a tensor, for a frame of PROBE: the largest weights have 2^27
PROBE = 64
_STEPS = ("strides", "dilations", "kernel_shape")
_OPEN_END = (1 << 31) - 1  # of a Slice, and beyond
Shapes = dict[str, list[int]]
_SMALL = 64  # elements of a tensor that may be sizes


def check_operators(model: Any, path: Path) -> None:
    """Raise ModelFileError where a graph holds what no exported one does.

    Args:
        model: the onnx.ModelProto, with or without large weights.
        path: the file's name, for messages.
    """
    for reason in _foreign(model):
        raise _refusal(path, reason)


def _refusal(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(f"{path}: not a file of export/to_onnx.py ({reason}); {EXPORT_AGAIN}")


def _foreign(model: Any) -> Iterator[str]:
    """What no exported graph has, in a few words."""
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        yield "functions, training or sparse tensors"
    if len(graph.node) > MAX_NODES:
        yield f"{len(graph.node)} operators, expected at most {MAX_NODES}"
    small = {tensor.name: values_of(tensor) for tensor in graph.initializer if _elements(tensor.dims) <= _SMALL}
    for node in graph.node:
        yield from _foreign_node(node)
        yield from _foreign_constants(node, small)
    yield from _foreign_integers(model)


def _foreign_node(node: Any) -> Iterator[str]:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        yield f"operator {'.'.join(filter(None, (node.domain, node.op_type)))[:_SMALL]}"
    for attribute in node.attribute:
        numbers = [attribute.i, attribute.f, *attribute.ints, *attribute.floats]
        if attribute.HasField("g") or attribute.graphs or attribute.tensors or len(numbers) > MAX_NUMBERS:
            yield f"{node.op_type} with a graph or a long list"
        if not all(abs(number) <= MAX_NUMBER for number in numbers):
            yield f"{node.op_type} with {attribute.name[:_SMALL]} beyond {MAX_NUMBER}"
        if attribute.name in _STEPS and any(step < 1 for step in attribute.ints):
            yield f"{node.op_type} with {attribute.name} below 1"


def _foreign_constants(node: Any, small: dict[str, list[float]]) -> Iterator[str]:
    inputs = [small.get(name) for name in node.input]
    if node.op_type == "ConstantOfShape" and (
        inputs[:1] in ([], [None]) or not 0 <= _elements(inputs[0]) <= MAX_NUMBERS
    ):
        yield "ConstantOfShape of more than a few numbers"
    if node.op_type == "Resize" and len(node.input) > 2 and node.input[2]:
        scales = inputs[2]
        if scales is None or not all(0 < scale <= MAX_SCALE for scale in scales):
            yield f"Resize by a scale beyond {MAX_SCALE}"


def _foreign_integers(model: Any) -> Iterator[str]:
    """Whole numbers that would be giant sizes."""
    integers = (6, 7)  # TensorProto.INT32 and INT64
    for tensor in model.graph.initializer:
        values = values_of(tensor) if tensor.data_type in integers and _elements(tensor.dims) <= _SMALL else []
        if any(MAX_SIZE < abs(value) < _OPEN_END for value in values):
            yield f"constant {tensor.name[:_SMALL]} beyond {MAX_SIZE}"


def check_sizes(shapes: Shapes, path: Path) -> None:
    """Raise ModelFileError where a small frame would already make giant tensors.

    Args:
        shapes: what `probed_shapes` found.
        path: the file's name, for messages.
    """
    frames = shapes["frames"]
    limit = MAX_ELEMENTS * max(1, _elements(frames) // (3 * PROBE * PROBE))  # sizes may be fixed to larger ones
    if max(map(_elements, shapes.values())) > limit:
        raise _refusal(path, f"a tensor of more than {limit} elements for frames of {'x'.join(map(str, frames))}")


def probed_shapes(model: Any, least: int = 1) -> Shapes:
    """The shapes of tensors by name, as far as onnx can tell them, 0 where it cannot.

    Args:
        model: the onnx.ModelProto, whose operators were checked.
        least: height and width that its frames have at least; they are taken to be PROBE, or what it fixes.
    """
    probe = _probe(model, max(least, PROBE))
    return {value.name: _sizes(value) for value in (*probe.graph.input, *_inferred(probe))}


def _probe(model: Any, side: int) -> Any:
    """The model for one small frame, where it is not fixed to other sizes."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.value_info[:]
    for value in (*probe.graph.input, *probe.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.dim_value:
                dim.dim_value = side if axis else 1
    return probe


def _inferred(model: Any) -> list[Any]:
    """The descriptions of tensors whose shape onnx can tell."""
    import onnx

    try:
        found = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return []  # the engine will say what is wrong with it
    return list(found.graph.value_info)


def _sizes(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _elements(sizes: Any) -> int:
    total = 1
    for size in sizes:
        total *= int(size)
    return total


def values_of(tensor: Any) -> list[float]:
    """The numbers of a small tensor; none where it holds no numbers, or not as many as it says."""
    import onnx

    try:
        values: list[float] = onnx.numpy_helper.to_array(tensor).ravel().tolist()
    except (TypeError, ValueError, KeyError):
        return []
    return values
