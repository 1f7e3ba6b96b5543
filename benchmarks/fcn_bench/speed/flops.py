"""How much a network has to compute: the multiplications and additions of an ONNX graph's convolutions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

CONVOLUTIONS = ("Conv", "ConvTranspose")
MAX_PASSES = 8  # of inferring shapes and computing what depends on them
MAX_ELEMENTS = 64  # of a tensor that describes a shape


def convolution_flops(model: Path, batch: int, height: int, width: int) -> int:
    """Floating-point operations of all convolutions for frames of one size, a multiplication and an addition being two.

    Other layers, well below a percent of an FCN, are left out. Weights that are laid out differently from upstream's
    (a folded BatchNorm, a deconvolution as pixel shuffle) count as they stand in the file.

    Args:
        model: a file of export/to_onnx.py.
        batch, height, width: of the frames.

    Raises:
        ValueError: the file was fixed to another size, or a convolution's size cannot be told.
    """
    import onnx

    proto = onnx.load(model)
    _drop_weights(proto.graph)
    _fix_frames(proto.graph, (batch, height, width))
    shapes = _all_shapes(proto)
    weights = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    convolutions = [node for node in proto.graph.node if node.op_type in CONVOLUTIONS]
    return sum(_flops(node, shapes, weights) for node in convolutions)


def _flops(node: Any, shapes: dict[str, tuple[int, ...]], weights: dict[str, tuple[int, ...]]) -> int:
    """Each element of a convolution's output, or of a transposed one's input, meets the whole of one filter."""
    tensor = node.output[0] if node.op_type == "Conv" else node.input[0]
    if tensor not in shapes:
        raise ValueError(f"{node.name or tensor}: the size of this convolution cannot be told from the graph")
    return 2 * math.prod(shapes[tensor]) * math.prod(weights[node.input[1]][1:])


def _drop_weights(graph: Any) -> None:
    """Keep of large tensors type and shape alone: hundreds of megabytes need not be copied at each pass."""
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > MAX_ELEMENTS:
            tensor.ClearField("raw_data")


def _fix_frames(graph: Any, sizes: tuple[int, int, int]) -> None:
    for dim, size in zip(graph.input[0].type.tensor_type.shape.dim, sizes, strict=False):
        if dim.dim_value not in (0, size):
            raise ValueError(f"frames: the file is fixed to {dim.dim_value}, asked for {size}")
        dim.dim_value = size


def _all_shapes(proto: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors by name. What the graph computes from shapes (padding, cropping) becomes constant first."""
    shapes: dict[str, tuple[int, ...]] = {}
    for _ in range(MAX_PASSES):
        found = _inferred(proto)
        if found.keys() <= shapes.keys():
            break
        shapes = found
        _fold(proto.graph, shapes)
    return shapes


def _inferred(proto: Any) -> dict[str, tuple[int, ...]]:
    from onnx import shape_inference

    del proto.graph.value_info[:]
    graph = shape_inference.infer_shapes(proto, data_prop=True).graph
    dims = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.value_info)}
    return {name: tuple(dim.dim_value for dim in each) for name, each in dims.items() if all(d.dim_value for d in each)}


def _fold(graph: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Replace the nodes that compute with shapes alone, as far as these are known, by their results."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if math.prod(tensor.dims) <= MAX_ELEMENTS
    }
    for node in list(graph.node):
        if node.op_type == "Shape" and node.input[0] in shapes:
            results = [np.array(shapes[node.input[0]], np.int64)]
        elif all(name in known for name in node.input if name):
            results = ReferenceEvaluator(node).run(None, {name: known[name] for name in node.input if name})
        else:
            continue
        known.update(zip(node.output, results, strict=True))
        graph.initializer.extend(map(numpy_helper.from_array, results, node.output))
        graph.node.remove(node)
