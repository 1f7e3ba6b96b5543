"""QuantizeLinear and DequantizeLinear put into an exported graph, as TensorRT takes them, by ONNX Runtime's quantizer.

Symmetric int8 activations, symmetric int8 weights per channel, biases left in float (TensorRT's parser refuses int32
ones). Only what the quantised layers read is rounded: a convolution hands its full sum to the ReLU or the addition
behind it, so that engines fuse these, and the rounding between them is spared (99.66 % of labels equal float's on the
CamVid ResNet-18, 99.59 % with rounding at the outputs too). What a max-pooling reads is rounded as its result is, which
changes no number, so that engines pool bytes.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper

from fcnrt.contract.types import UInt8Array

from .pixels import on_pixels

QUANTISED = ("Conv", "Add")
_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": [*QUANTISED],
}


def quantised(model: ModelProto, frames: Iterable[UInt8Array], layers: Collection[str]) -> ModelProto:
    """The model with Q/DQ around convolutions and the residual additions behind them.

    Args:
        model: a float32 graph that export made; it stays as it is.
        frames: batches (N, H, W, 3) uint8 as the graph takes them, to measure the ranges of activations on.
        layers: names of the convolutions to quantise, among those of `convolutions`.
    """
    exact: dict[str, Any] = {}
    origin = model
    if convolutions(model)[0] in layers:
        origin, pixels = on_pixels(model)
        exact[pixels] = [{"scale": np.array(1, np.float32), "zero_point": np.array(0, np.int8)}]
    made = _quantised(origin, frames, layers, {**_OPTIONS, "TensorQuantOverrides": exact})
    _round_before_pooling(made)
    return _as_exported(made, model)


def _quantised(
    model: ModelProto, frames: Iterable[UInt8Array], layers: Collection[str], options: dict[str, Any]
) -> ModelProto:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder, quiet_quantizer():
        source, path = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)  # given the model itself, the quantizer would take its weights away
        quantize_static(
            source,
            path,
            FrameReader(frames),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=[*QUANTISED],
            nodes_to_quantize=[node.name for node in _nodes(model, layers)],
            extra_options=options,
        )
        return onnx.load(path)


def convolutions(model: ModelProto) -> list[str]:
    """Names of the convolutions in the order of the graph, as their module is called in the network."""
    return [_layer(node) for node in model.graph.node if node.op_type == "Conv"]


def _nodes(model: ModelProto, layers: Collection[str]) -> list[NodeProto]:
    chosen = [node for node in model.graph.node if node.op_type == "Conv" and _layer(node) in layers]
    sums = {name for node in chosen for name in node.output}
    rectified = {node.input[0] for node in model.graph.node if node.op_type == "Relu"}  # sums of scores are not
    additions = [node for node in model.graph.node if node.op_type == "Add" and sums & set(node.input)]
    return [*chosen, *(node for node in additions if node.output[0] in rectified)]


def _layer(node: NodeProto) -> str:
    return node.input[1].removesuffix(".weight").removeprefix("net.")


def _round_before_pooling(model: ModelProto) -> None:
    """Round what a max-pooling reads of a quantised convolution by the scale of its result: both give one number."""
    graph = model.graph
    quantisers = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    for pool in [node for node in graph.node if node.op_type == "MaxPool" and node.output[0] in quantisers]:
        if _is_of_integers(graph, pool.input[0]):
            pair = _pair(pool.input[0], quantisers[pool.output[0]].input[1:])
            pool.input[0] = pair[1].output[0]
            position = list(graph.node).index(pool)
            for node in reversed(pair):
                graph.node.insert(position, node)


def _is_of_integers(graph: GraphProto, name: str) -> bool:
    """Whether a tensor is the ReLU of a convolution with int8 weights."""
    makers = {name: node for node in graph.node for name in node.output}
    relu = makers[name]
    convolution = makers[relu.input[0]] if relu.op_type == "Relu" else relu
    return convolution.op_type == "Conv" and convolution.input[1] in makers


def _pair(name: str, scale: Iterable[str]) -> list[NodeProto]:
    """A tensor rounded by a scale and zero point: Q and DQ."""
    rounded, restored = f"{name}_before_pooling", f"{name}_before_pooling_restored"
    return [
        helper.make_node("QuantizeLinear", [name, *scale], [rounded], rounded),
        helper.make_node("DequantizeLinear", [rounded, *scale], [restored], restored),
    ]


class FrameReader:
    """Frames as the quantizer asks for them: one batch a call, None at the end."""

    def __init__(self, frames: Iterable[UInt8Array]):
        self._frames = iter(frames)

    def get_next(self) -> dict[str, UInt8Array] | None:
        batch = next(self._frames, None)
        return None if batch is None else {"frames": batch}


def _as_exported(made: ModelProto, model: ModelProto) -> ModelProto:
    """What the quantizer made, with the name, operator sets and inner tensor `scores` of its origin."""
    scores = next(value for value in model.graph.value_info if value.name == "scores")
    del made.graph.value_info[:]  # known again by inference
    made.graph.value_info.append(scores)
    made.graph.name, made.doc_string, made.producer_name = model.graph.name, "", model.producer_name
    made.producer_version, made.ir_version = model.producer_version, model.ir_version
    del made.metadata_props[:], made.opset_import[:]
    made.metadata_props.extend(model.metadata_props)
    made.opset_import.extend(model.opset_import)
    return made


@contextmanager
def quiet_quantizer() -> Iterator[None]:
    """The quantizer advises a preprocessing by the root logger that exported graphs have behind them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
