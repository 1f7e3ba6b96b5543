"""What onnx infers of a graph's tensors, without copying its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from fcnrt.contract.profiles import DIMENSIONS
from fcnrt.contract.types import Array

_SMALL = 64  # bytes of a constant that may be a shape; larger ones are weights


def describe_tensors(model: ModelProto) -> None:
    """Replace every description of an inner tensor by what onnx infers; sizes that it does not know stay open.

    A name stands for a size of the frames or for nothing: readers take equal names for equal sizes.

    Raises:
        onnx.shape_inference.InferenceError: the graph contradicts itself.
    """
    del model.graph.value_info[:]
    found = infer(skeleton(model), strict_mode=True).value_info
    for value in found:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param") and dim.dim_param not in DIMENSIONS:
                dim.Clear()
    model.graph.value_info.extend(found)


def write_known_sizes(model: ModelProto) -> bool:
    """Make constants of the sizes that a graph asks a tensor for although they are known; whether there were any."""
    graph = model.graph
    asked = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Shape"}
    reads = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in asked]
    if not reads:
        return False
    shapes = {value.name: value.type.tensor_type.shape.dim for value in tensors(infer(skeleton(model)))}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if not tensor.dims}
    known = [node for node in reads if _size(node, shapes.get(asked[node.input[0]]), constants)]
    for node in known:
        size = np.array(_size(node, shapes[asked[node.input[0]]], constants))
        graph.initializer.append(numpy_helper.from_array(size, node.output[0]))
        graph.node.remove(node)
    return bool(known)


def _size(gather: NodeProto, dims: Sequence[onnx.TensorShapeProto.Dimension], constants: Mapping[str, Array]) -> int:
    """What a Gather of one dimension gives, 0 where that is not known."""
    index = constants.get(gather.input[1])
    return dims[int(index)].dim_value if dims and index is not None else 0


def infer(model: ModelProto, strict_mode: bool = False) -> onnx.GraphProto:
    """The graph with types and, as far as onnx can tell, shapes of all tensors."""
    return onnx.shape_inference.infer_shapes(model, strict_mode=strict_mode, data_prop=True).graph


def skeleton(model: ModelProto) -> ModelProto:
    """The model with its weights as inputs: half a gigabyte need not be copied to learn shapes."""
    graph = model.graph
    weights = [tensor for tensor in graph.initializer if len(tensor.raw_data) > _SMALL]
    names = {tensor.name for tensor in weights}
    inputs = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in weights]
    small = [tensor for tensor in graph.initializer if tensor.name not in names]
    bare = helper.make_graph(graph.node, graph.name, [*graph.input, *inputs], graph.output, small)
    return helper.make_model(bare, opset_imports=model.opset_import, ir_version=model.ir_version)


def tensors(graph: onnx.GraphProto) -> list[ValueInfoProto]:
    """Every tensor that a graph describes."""
    return [*graph.input, *graph.value_info, *graph.output]
