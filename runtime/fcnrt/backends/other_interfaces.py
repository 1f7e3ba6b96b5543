"""Files that take planes of floats, or give scores, made to take bytes and give labels as the others do, in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract.onnx_file import OnnxFile
from ..contract.spec import ModelSpec
from ..contract.types import Array


def take_bytes_and_give_labels(file: OnnxFile) -> None:
    """Rewrite a file's graph to the interface of bytes to labels; what an engine computes between stays as it is."""
    if file.spec.interface.planes:
        _take_bytes(file.proto.graph, file.spec)
    if file.spec.interface.output == "scores-float":
        _give_labels(file.proto.graph)


def _take_bytes(graph: Any, spec: ModelSpec) -> None:
    """uint8 (N, H, W, 3) -> Cast, Transpose, and normalising where the graph wants that done."""
    import onnx

    helper, types = onnx.helper, onnx.TensorProto
    _rename(graph, "frames", "frames_as_planes")
    nodes = [
        helper.make_node("Cast", ["frames"], ["frames_as_floats"], to=types.FLOAT),
        helper.make_node("Transpose", ["frames_as_floats"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    if spec.interface.input_range == "normalised":
        graph.initializer.extend(_constants(spec, onnx.numpy_helper))
        nodes.append(helper.make_node("Sub", ["planes", "frames_mean"], ["planes_around_mean"]))
        nodes.append(helper.make_node("Mul", ["planes_around_mean", "frames_factor"], ["frames_as_planes"]))
    else:
        nodes[-1].output[0] = "frames_as_planes"
    for node in reversed(nodes):
        graph.node.insert(0, node)
    batch, height, width = (
        _size(graph.input[0].type.tensor_type.shape.dim[axis]) for axis in spec.interface.frame_axes
    )
    graph.input[0].CopyFrom(helper.make_tensor_value_info("frames", types.UINT8, [batch, height, width, 3]))


def _constants(spec: ModelSpec, numpy_helper: Any) -> list[Any]:
    mean, std = np.array(spec.mean), np.array(spec.std)
    values: dict[str, Array] = {"frames_mean": mean / spec.scale, "frames_factor": spec.scale / std}
    return [
        numpy_helper.from_array(value.astype(np.float32).reshape(3, 1, 1), name)  # (C, 1, 1)
        for name, value in values.items()
    ]


def _give_labels(graph: Any) -> None:
    import onnx

    helper, types = onnx.helper, onnx.TensorProto
    batch, _, height, width = (_size(dim) for dim in graph.output[0].type.tensor_type.shape.dim)
    graph.node.append(helper.make_node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0))
    graph.node.append(helper.make_node("Cast", ["best"], ["labels"], to=types.UINT8))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("labels", types.UINT8, [batch, height, width]))


def _rename(graph: Any, name: str, other: str) -> None:
    for node in graph.node:
        for index, given in enumerate(node.input):
            if given == name:
                node.input[index] = other


def _size(dim: Any) -> int | str | None:
    return dim.dim_value or dim.dim_param or None
