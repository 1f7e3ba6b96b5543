"""Q/DQ in a file: what TensorRT's parser takes as it is meant, and which weights it makes int8."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto

from ..errors import ExportError

_REMEDY = "export the checkpoint with --precision int8"
_REFUSED = {
    TensorProto.UINT8: 'uint8, of which its parser makes something else (it warns "Defaulting to INT8")',
    TensorProto.INT32: "int32 (quantised biases), which its parser refuses",
}


def check_quantization(model: ModelProto, path: Path) -> None:
    """Refuse Q/DQ that TensorRT does not compute as ONNX means it.

    Raises:
        ExportError: something is quantised to another type than int8, or with a zero point.
    """
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in _pairs(model):
        found = _REFUSED.get(_stored_type(node, types))
        if found:
            raise ExportError(f"{path}: {node.name}: expected int8 for TensorRT, got {found}; {_REMEDY}")
    shifted = _shifted(model)
    if shifted:
        raise ExportError(f"{path}: {shifted}: expected symmetric int8 for TensorRT, got a zero point; {_REMEDY}")


def int8_weights(model: ModelProto) -> set[str]:
    """Names of the tensors that int8 constants are dequantised to."""
    constants = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    return {n.output[0] for n in _pairs(model) if n.op_type == "DequantizeLinear" and n.input[0] in constants}


def _pairs(model: ModelProto) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]


def _stored_type(node: NodeProto, types: dict[str, int]) -> int:
    """Of the integers on a node's quantised side: its zero point's, which ONNX lets default to uint8."""
    if len(node.input) > 2:
        return types.get(node.input[2], TensorProto.INT8)
    return types.get(node.input[0], TensorProto.UINT8 if node.op_type == "QuantizeLinear" else TensorProto.INT8)


def _shifted(model: ModelProto) -> str:
    """The name of a node whose zero point is not 0; empty where all are."""
    points = {node.input[2]: node.name for node in _pairs(model) if len(node.input) > 2}
    for tensor in model.graph.initializer:
        if tensor.name in points and (any(tensor.raw_data) or any(tensor.int32_data)):
            return points[tensor.name]
    return ""
