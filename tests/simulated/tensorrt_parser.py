"""The parser of the simulated TensorRT: one layer per ONNX node, typed as the generation types it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, numpy_helper

from .tensorrt_names import Generation, ILogger, Named

if TYPE_CHECKING:
    from .tensorrt import SimulatedTensorRT

_LAYERS = {
    "Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "Cast": "CAST", "Shape": "SHAPE", "MaxPool": "POOLING",
    "Relu": "ACTIVATION", "Resize": "RESIZE", "Slice": "SLICE", "Gather": "GATHER", "ArgMax": "TOPK",
    "Concat": "CONCATENATION", "Add": "ELEMENTWISE", "Sub": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Mod": "ELEMENTWISE",
}  # fmt: skip
_TYPES = {
    TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.UINT8: "UINT8", TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32", TensorProto.BOOL: "BOOL",
}  # fmt: skip


class Network:
    """A parsed network; filled by the parser."""

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.model = b""

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_layer(self, index: int) -> Any:
        return self.layers[index]

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    def get_output(self, index: int) -> Any:
        return self.outputs[index]


class OnnxParser:
    _trt: SimulatedTensorRT
    num_errors = 0

    def __init__(self, network: Network, logger: ILogger) -> None:
        self._network = network

    def parse(self, data: bytes) -> bool:
        if self._trt.record.understands:
            _Parse(self._trt, data).fill(self._network)
        return True


class _Parse:
    """One ONNX graph as a network."""

    def __init__(self, trt: SimulatedTensorRT, data: bytes):
        self._trt, self._data, self._strong = trt, data, _is_strongly_typed(trt)
        self._graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data)).graph
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer}
        values = [*self._graph.input, *self._graph.value_info, *self._graph.output]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._tensors = {value.name: self._tensor(value) for value in self._graph.input}

    def fill(self, network: Network) -> None:
        network.model, network.inputs = self._data, list(self._tensors.values())
        for node in self._graph.node:
            network.layers.append(self._layer(node))
        for value in self._graph.output:
            output = self._tensors[value.name]
            output.dtype, output.shape = self._data_type(value.name, True), _shape(value)
            network.outputs.append(output)

    def _layer(self, node: onnx.NodeProto) -> Any:
        layer = self._trt.api["ILayer"]()
        layer._type = SimpleNamespace(name=_LAYERS.get(node.op_type, "SHUFFLE"))
        layer._name, layer._strong, layer._precision, layer._output_types = node.name, self._strong, None, {}
        layer._inputs = [self._tensors[name] for name in node.input if name in self._tensors]
        cast = node.op_type == "Cast"
        layer._outputs = [SimpleNamespace(name=name, dtype=self._data_type(name, cast)) for name in node.output]
        for output in layer._outputs:
            output.shape = ()
            self._tensors[output.name] = output
        if node.op_type in ("Conv", "ConvTranspose"):
            layer._kernel = numpy_helper.to_array(self._weights[node.input[1]])
        return layer

    def _tensor(self, value: onnx.ValueInfoProto) -> Any:
        return SimpleNamespace(name=value.name, dtype=self._data_type(value.name, True), shape=_shape(value))

    def _data_type(self, name: str, typed: bool) -> Any:
        """The file's type; a weakly typed network calls everything float that no cast or interface types."""
        found = _TYPES[self._types[name]]
        if found == "HALF" and ((not self._strong and not typed) or self._trt.record.halves_become_floats):
            found = "FLOAT"
        if found == "INT64" and self._trt.generation == 8:
            found = "INT32"
        return self._trt.api["DataType"][found]


def layer_class(name: str, generation: Generation) -> type:
    """A layer class; up to 10 its layers have precisions, but a strongly typed network lets nobody set them."""

    def set_precision(self: Any, value: Any) -> None:
        assert not self._strong, "setting a precision in a strongly typed network"
        self._precision = value

    def set_output_type(self: Any, index: int, value: Any) -> None:
        assert not self._strong, "setting an output type in a strongly typed network"
        self._output_types[index] = value

    members: dict[str, Any] = {
        "type": property(lambda self: self._type),
        "name": property(lambda self: self._name),
        "num_inputs": property(lambda self: len(self._inputs)),
        "num_outputs": property(lambda self: len(self._outputs)),
        "get_input": lambda self, index: self._inputs[index],
        "get_output": lambda self, index: self._outputs[index],
        "get_output_type": lambda self, index: self._output_types.get(index, self._outputs[index].dtype),
    }
    if generation in (8, 10):
        members |= {
            "NAMES": frozenset({"precision"}),
            "precision": property(lambda self: self._precision, set_precision),
            "precision_is_set": property(lambda self: self._precision is not None),
            "set_output_type": set_output_type,
        }
    if name != "ILayer":
        members["kernel"] = property(lambda self: self._kernel)
    return type(name, (Named,), members)


def inspector_text(network: Network, generation: Generation) -> str:
    """What the inspector says of an engine with dynamic shapes: the types of tensors only from 11 on."""
    layers = []
    for layer in network.layers:
        if layer.type.name == "CONVOLUTION":
            precision = getattr(layer, "precision", None) or layer.get_output(0).dtype
            word = {"FLOAT": "Float", "HALF": "Half"}[precision.name]
            tensor = {"Name": "x", "Format/Datatype": "N/A due to dynamic shapes"}
            if generation not in (8, 10):
                tensor = {"Name": "x", "Format": "N/A due to dynamic shapes", "DataType": word}
            described = {"Name": layer.name, "LayerType": "CaskConvolution", "ParameterType": "Convolution"}
            layers.append({**described, "Inputs": [tensor], "Outputs": [tensor], "Weights": {"Type": word, "Count": 9}})
    return json.dumps({"Layers": layers, "Bindings": ["frames", "scores"]})


def _is_strongly_typed(trt: SimulatedTensorRT) -> bool:
    flag = getattr(trt.api["NetworkDefinitionCreationFlag"], "STRONGLY_TYPED", None)
    asked = flag is not None and bool((trt.record.creation_flags or 0) & 1 << int(flag))
    return asked or trt.generation not in (8, 10)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)
