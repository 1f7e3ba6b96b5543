"""The tail that a graph itself has behind `scores`, to be held against the one that its file tells of."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ModelFileError
from .operators import values_of
from .spec import EXPORT_AGAIN
from .tail import Tail

_STEPS = 3  # nodes behind the upsampling among which the window of the frame is cut out


def check_tail(graph: Any, tail: Tail, source: str) -> None:
    """Raise ModelFileError where a graph makes labels in another way than its file says.

    Args:
        graph: the onnx.GraphProto.
        tail: that the file says.
        source: the file's name.
    """
    made = tail_of(graph)
    if made is not None and made != tail:
        raise ModelFileError(f"{source}: says {tail}, but its graph has {made}; {EXPORT_AGAIN}")


def tail_of(graph: Any) -> Tail | None:
    """A graph's tail; None where it is written in another way than today's exporter does."""
    reader = _reader(graph, "scores")
    if reader is None:
        return None
    if reader.op_type in ("ArgMax", "Slice"):
        return Tail("none", offset=_window_start(graph, "scores"))
    if reader.op_type != "Resize":
        return None
    how = next((entry.s for entry in reader.attribute if entry.name == "coordinate_transformation_mode"), b"")
    if how == b"align_corners":
        return Tail("align_corners")
    if how not in (b"half_pixel", b"pytorch_half_pixel"):
        return None
    scales = _numbers(graph, reader.input[2]) if len(reader.input) > 2 and reader.input[2] else []
    if not scales:
        return Tail("half_pixel")
    stride = round(scales[-1])
    return Tail("deconv", stride, _window_start(graph, reader.output[0]) + stride // 2)


def _window_start(graph: Any, name: str) -> int:
    """The first row that is kept of a tensor; 0 where none is cut off."""
    for _ in range(_STEPS):
        node = _reader(graph, name)
        if node is None:
            break
        if node.op_type == "Slice":
            starts = _numbers(graph, node.input[1]) if len(node.input) > 1 else []
            return int(starts[0]) if starts and math.isfinite(starts[0]) else 0
        name = node.output[0]
    return 0


def _reader(graph: Any, name: str) -> Any:
    """The one node that reads a tensor, but for those who ask for its shape; None where it is not one."""
    readers = [node for node in graph.node if name in node.input and node.op_type != "Shape"]
    return readers[0] if len(readers) == 1 else None


def _numbers(graph: Any, name: str) -> list[float]:
    """A constant's numbers; none where it is computed."""
    tensor = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    return [] if tensor is None else values_of(tensor)
