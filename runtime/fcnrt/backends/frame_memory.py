"""Frames that no memory of this machine would hold are refused before gigabytes are written for them."""

from __future__ import annotations

import math
from typing import Any

from ..contract.types import Shape
from ..errors import FrameError
from .memory import available_bytes

_FLOAT_BYTES, _CHANNELS = 4, 3
_ITEM_BYTES = {"bf16": 2, "int8": 1}  # of what the first convolution gives; floats otherwise
_LEAST_PIXELS = 1 << 24  # below it nothing is asked: any machine has that much
_SIDES = 32  # sizes that are proposed are multiples of it


def least_bytes_per_pixel(graph: Any, precision: str) -> float:
    """What the first convolution holds for a pixel of the frames: its input in floats, and its output.

    It is the least that a network needs, whatever an engine fuses.
    """
    convolution = next((node for node in graph.node if node.op_type == "Conv"), None)
    if convolution is None:
        return _FLOAT_BYTES * _CHANNELS
    sources = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    weights = sources.get(convolution.input[1], convolution.input[1])
    channels = next((tensor.dims[0] for tensor in graph.initializer if tensor.name == weights), 0)
    strides = next((attribute.ints for attribute in convolution.attribute if attribute.name == "strides"), (1, 1))
    return _FLOAT_BYTES * _CHANNELS + channels * _ITEM_BYTES.get(precision, _FLOAT_BYTES) / math.prod(strides)


def check_memory(shape: Shape, bytes_per_pixel: float) -> None:
    """Raise FrameError where frames (batch, height, width) need more memory than there is."""
    pixels = math.prod(shape)
    if pixels < _LEAST_PIXELS:
        return
    needed, free = pixels * bytes_per_pixel, available_bytes()
    if needed <= free:
        return
    side = int(math.sqrt(free / 2 / bytes_per_pixel)) // _SIDES * _SIDES
    raise FrameError(
        f"frames: {'x'.join(map(str, shape))} (batch x height x width) need at least {needed / 2**30:.1f} GiB in this "
        f"network, and {free / 2**30:.1f} GiB are free; give tiles of at most {side}x{side}, or fewer at a time, or "
        f"use input_size (--input-size)"
    )
