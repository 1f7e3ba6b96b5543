"""The first layer on pixels: its input is int8 without rounding, and no step of normalisation is left before it.

A pixel p less 128 is an int8 number, a normalised one is not. With weights w, and f and m of the normalisation,

    w * f * (p - m) = w * f * (p - 128) + w * f * (128 - m).

Around the picture a convolution pads with normalised zeros, where both terms must vanish: so the second one is the
product with a fourth channel, which is constant in the picture and zero around it.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fcnrt.contract.types import Array

MIDDLE, LARGEST = 128, 127  # of bytes; of int8


def on_pixels(model: ModelProto) -> tuple[ModelProto, str]:
    """The same network, whose first convolution reads pixels less 128 and a channel that marks the picture.

    Args:
        model: as exported, frames uint8; it stays as it is.

    Returns:
        The model, and the name of the tensor that the convolution reads, whose values are whole numbers in int8.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    convolution, *before = _first_layer(graph)
    normalise = [node for node in before if node.op_type in ("Mul", "Sub")]
    factor, mean = _normalisation(graph, normalise)
    mark = _mark(mean)
    _fold(_tensor(graph, convolution.input[1]), factor, mean, mark)
    _replace(graph, normalise, mark)
    _forget_shapes(graph)
    return made, convolution.input[0]


def _first_layer(graph: GraphProto) -> list[NodeProto]:
    """The first convolution, and what lies before it, backwards."""
    makers = {name: node for node in graph.node for name in node.output}
    found = [next(node for node in graph.node if node.op_type == "Conv")]
    while found[-1].input[0] in makers:
        found.append(makers[found[-1].input[0]])
    return found


def _normalisation(graph: GraphProto, normalise: list[NodeProto]) -> tuple[Array, Array]:
    """Factor and mean per channel, as (3, 1, 1)."""
    values = {node.op_type: numpy_helper.to_array(_tensor(graph, node.input[1])) for node in normalise}
    return values.get("Mul", np.ones((3, 1, 1))).astype(np.float64), values["Sub"].astype(np.float64)


def _mark(mean: Array) -> int:
    """The fourth channel's value: as small as its weights allow, for their rounding is multiplied by it."""
    return int(np.clip(np.ceil(np.abs(MIDDLE - mean).sum()), 1, LARGEST))


def _fold(weight: TensorProto, factor: Array, mean: Array, mark: int) -> None:
    """Weights (out, 3, h, w) on normalised values to those on pixels and the mark (out, 4, h, w)."""
    on_bytes = numpy_helper.to_array(weight) * factor
    on_mark = (on_bytes * (MIDDLE - mean)).sum(1, keepdims=True) / mark
    folded = np.concatenate([on_bytes, on_mark], 1).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(folded, weight.name))


def _replace(graph: GraphProto, normalise: list[NodeProto], mark: int) -> None:
    """Less 128, and one channel more, in place of the normalisation."""
    constants = {
        "middle": np.array(MIDDLE, np.float32),
        "mark": np.array(mark, np.float32),
        "one_channel": np.array([0, 0, 0, 0, 0, 1, 0, 0]),
    }
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    subtract = helper.make_node("Sub", [normalise[-1].input[0], "middle"], ["centred"], "less_128")
    pad = helper.make_node("Pad", ["centred", "one_channel", "mark"], list(normalise[0].output), "mark_picture")
    position = list(graph.node).index(normalise[-1])
    for node in normalise:
        unread = _tensor(graph, node.input[1])
        graph.node.remove(node)
        graph.initializer.remove(unread)
    graph.node.insert(position, pad)
    graph.node.insert(position, subtract)


def _forget_shapes(graph: GraphProto) -> None:
    """Of inner tensors, which have other channels now; the contract's `scores` stay."""
    scores = [value for value in graph.value_info if value.name == "scores"]
    del graph.value_info[:]
    graph.value_info.extend(scores)


def _tensor(graph: GraphProto, name: str) -> TensorProto:
    return next(tensor for tensor in graph.initializer if tensor.name == name)
