"""Int8 files as engines on the CPU compute them fast and rightly: rewritten in memory.

Files are exported as TensorRT takes them: int8 with zero point 0. ONNX Runtime fuses such a graph in part only, and
OpenVINO corrects every sum; with uint8 activations and int8 weights both compute all of it in integers. Behind a ReLU
the lower half of the int8 range is never used, so there the numbers become finer as well, and the ReLU is what uint8
does by itself.

Without VNNI, products of 8 and 8 bits are summed in pairs in 16 bits, which saturate, in OpenVINO as well: there
weights get 7 bits.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.types import Array
from .onnx_model import OnnxModel, load_package

NEVER_NEGATIVE = ("Relu", "MaxPool", "QuantizeLinear", "DequantizeLinear")  # MaxPool and the rest as their input is
MIDDLE = 128  # of bytes
DROPPED = ("Relu", "QuantizeLinear", "DequantizeLinear")  # where nothing reads them any more


def make_unsigned(model: OnnxModel) -> None:
    """Rewrite every quantised activation of a model.

    Behind a ReLU: uint8 with zero point 0 and scale * 127 / 255. Elsewhere: uint8 with zero point 128, the same values.

    Args:
        model: with QuantizeLinear of int8 and zero point 0, as exported.
    """
    graph = _Graph(model)
    for quantize, positive in graph.activations():
        scale = graph.value(quantize.input[1])
        graph.requantize(quantize, scale * (127 / 255 if positive else 1), 0 if positive else MIDDLE)
        if positive:
            graph.skip_relu(quantize)
    graph.drop_unread()
    model.rewritten = True


def halve_weights(model: OnnxModel) -> None:
    """Give the int8 weights of a model 7 bits, at twice their scale."""
    _Graph(model).halve_weights()
    model.rewritten = True


def read_bytes(model: OnnxModel) -> None:
    """Let the first convolution read the frames' bytes, where the file subtracts 128 and rounds what is whole.

    Args:
        model: with unsigned activations; a file whose first convolution is float is left as it is.
    """
    graph = _Graph(model)
    for quantize, _ in graph.activations():
        pads, subtract = graph.before_rounding_of_pixels(quantize)
        if subtract is not None:
            graph.read_bytes(quantize, pads, subtract)


def saturates() -> bool:
    """Whether this processor sums products of bytes in 16 bits: x86 without VNNI, or what does not tell."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "_vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True


class _Graph:
    """A model's graph with what it takes to find one's way in it."""

    def __init__(self, model: OnnxModel):
        self._model, self._graph = model, model.proto.graph
        self._onnx = load_package("onnx")
        self._constants = {tensor.name: tensor for tensor in self._graph.initializer}
        self._makers = {name: node for node in self._graph.node for name in node.output}
        self._readers = defaultdict(list)
        for node in self._graph.node:
            for name in node.input:
                self._readers[name].append(node)

    def activations(self) -> list[tuple[Any, bool]]:
        """Every QuantizeLinear, and whether what it reads is never negative; weights are quantised already."""
        nodes = [node for node in self._graph.node if node.op_type == "QuantizeLinear"]
        return [(node, self._is_never_negative(node.input[0])) for node in nodes]

    def value(self, name: str) -> Array:
        return self._model.array(self._constants[name])

    def _is_never_negative(self, name: str) -> bool:
        maker = self._makers.get(name)
        if maker is None or maker.op_type not in NEVER_NEGATIVE:
            return False
        return maker.op_type == "Relu" or self._is_never_negative(maker.input[0])

    def requantize(self, quantize: Any, scale: Array, zero_point: int) -> None:
        """Give a QuantizeLinear, and what dequantises its output, another scale and a zero point of uint8."""
        output = quantize.output[0]
        names = (
            self._add(f"{output}_unsigned_scale", scale.astype(np.float32)),
            self._add(f"{output}_unsigned_zero_point", np.array(zero_point, np.uint8)),
        )
        for node in (quantize, *self._readers[output]):
            node.input[1], node.input[2] = names

    def skip_relu(self, quantize: Any) -> None:
        """Read what the ReLU before it reads, or what was rounded for that ReLU alone."""
        relu = self._makers[quantize.input[0]]
        if relu.op_type == "Relu":
            quantize.input[0] = self._before_rounding(relu.input[0])

    def _before_rounding(self, name: str) -> str:
        """What a pair of Q and DQ rounds; ONNX Runtime 1.23 fails where one pair follows another."""
        dequantize = self._makers.get(name)
        quantize = self._makers.get(dequantize.input[0]) if dequantize is not None else None
        if dequantize is None or quantize is None or dequantize.op_type != "DequantizeLinear":
            return name
        alone = len(self._readers[name]) == len(self._readers[quantize.output[0]]) == 1
        return str(quantize.input[0]) if alone else name

    def before_rounding_of_pixels(self, quantize: Any) -> tuple[list[Any], Any]:
        """The paddings before a QuantizeLinear, first to last, and what subtracts 128; None where nothing does."""
        pads, maker = list[Any](), self._makers.get(quantize.input[0])
        while maker is not None and maker.op_type == "Pad":
            pads.insert(0, maker)
            maker = self._makers.get(maker.input[0])
        if maker is None or maker.op_type != "Sub" or self.value(maker.input[1]).tolist() != MIDDLE:
            return pads, None
        return pads, maker

    def read_bytes(self, quantize: Any, pads: list[Any], subtract: Any) -> None:
        (cast,) = self._readers["frames"]
        for node in self._readers[cast.output[0]]:
            node.input[0] = "frames"
        pads[0].input[0] = subtract.input[0]
        for pad in pads:
            value = self.value(pad.input[2]) if len(pad.input) > 2 else np.array(0)
            level = self._add(f"{pad.output[0]}_level", np.array(MIDDLE + value, np.uint8))
            pad.input[:] = [*pad.input[:2], level]
        # As planes the fourth channel is one block. ONNX Runtime would have it padded pixel by pixel: 20 times as slow.
        planes = f"{pads[-1].output[0]}_planes"
        shape = self._add("planes_as_they_are", np.array([0, 0, 0, -1]))
        stay = self._onnx.helper.make_node("Reshape", [pads[-1].output[0], shape], [planes])
        self._graph.node.insert(list(self._graph.node).index(quantize), stay)
        for node in self._readers[quantize.output[0]]:
            node.input[0] = planes
        for node in (cast, subtract, quantize):
            self._graph.node.remove(node)

    def drop_unread(self) -> None:
        """What nothing reads any more would be one reader too many of a convolution: engines fuse what has one."""
        while unread := self._unread():
            for node in unread:
                self._graph.node.remove(node)

    def _unread(self) -> list[Any]:
        read = {name for node in self._graph.node for name in node.input} | {out.name for out in self._graph.output}
        return [node for node in self._graph.node if node.op_type in DROPPED and node.output[0] not in read]

    def halve_weights(self) -> None:
        for node in self._graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] in self._constants:
                values, scale = self.value(node.input[0]), self.value(node.input[1])
                node.input[0] = self._add(f"{node.input[0]}_of_7_bits", np.round(values / 2).astype(np.int8))
                node.input[1] = self._add(f"{node.input[1]}_of_7_bits", scale * np.float32(2))

    def _add(self, name: str, values: Array) -> str:
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(values, name))
        return name
