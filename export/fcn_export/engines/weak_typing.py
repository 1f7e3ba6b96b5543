"""Make TensorRT 8.6, which is free to choose types, keep those that the file has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fcnrt.contract.precision import Precision

# What they hold, convert to or measure gives them their type; a precision would be refused or ignored.
_TYPED_BY_NATURE = ("CONSTANT", "CAST", "IDENTITY", "SHAPE")


def constrain(trt: Any, network: Any, types: Mapping[str, Precision]) -> None:
    """Set precision and output type of every floating-point layer; OBEY_PRECISION_CONSTRAINTS makes them binding.

    Args:
        trt: the TensorRT module.
        network: the parsed network; changed.
        types: precisions of the file's floating-point tensors by name. Layers that the parser put in between
            have no name there and take the type of their first input.
    """
    known = dict(types)
    data_types = {Precision.FP32: trt.DataType.FLOAT, Precision.FP16: trt.DataType.HALF}
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        first = layer.get_input(0) if layer.num_inputs else None
        inherited = known.get(first.name) if first is not None else None
        for index, output in _float_outputs(trt, layer):
            precision = known.setdefault(output.name, inherited or _own_type(trt, output))
            if layer.type.name not in _TYPED_BY_NATURE:
                layer.precision = data_types[precision]
                layer.set_output_type(index, data_types[precision])


def _float_outputs(trt: Any, layer: Any) -> Iterator[tuple[int, Any]]:
    """The outputs that carry numbers of the picture, not shapes or indices."""
    for index in range(layer.num_outputs):
        output = layer.get_output(index)
        if output.dtype in (trt.DataType.FLOAT, trt.DataType.HALF):
            yield index, output


def _own_type(trt: Any, tensor: Any) -> Precision:
    return Precision.FP16 if tensor.dtype == trt.DataType.HALF else Precision.FP32
