"""The ONNX side of an export: trace the network, tidy the graph, write the metadata, check the file."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from fcnrt.contract.interface import Interface, Tensor
from fcnrt.contract.profiles import DIMENSIONS
from fcnrt.contract.seal import sealed
from fcnrt.contract.spec import ModelSpec

from ..errors import ExportError
from .deploy import DeployedFcn
from .shapes import describe_tensors, write_known_sizes

MAX_BYTES = 2**31 - 1  # of one protobuf file
TRACED_SIZE = (64, 96)


def trace(network: DeployedFcn, fixed: Mapping[str, int], opset: int) -> ModelProto:
    """The network as an ONNX model that keeps the file contract, without metadata.

    Args:
        fixed: dimensions among "batch", "height" and "width" that are not dynamic, with their sizes.
        opset: ONNX operator set.

    Raises:
        ExportError: the weights are too large for one ONNX file.
    """
    _check_bytes(network)
    interface = network.interface
    model = _cleaned(_traced(network, fixed, opset))
    _name_dimensions(model, interface, network.net.classes, fixed)
    _keep_scores_inside(model)
    if not interface.planes:
        _take_shapes_of_cast_frames(model)
    output = interface.output_tensor(network.net.classes)
    if output.dtype == "uint8":
        _cast_labels_through_float(model)
    elif output.dtype == "int32":
        _widen_labels(model)
    describe_tensors(model)
    return model


def add_metadata(model: ModelProto, spec: ModelSpec) -> None:
    """Write what a model says of itself into it."""
    helper.set_model_props(model, spec.metadata())
    model.graph.name, model.doc_string = "fcn", ""


def write_model(model: ModelProto, path: Path) -> None:
    """Write a model to `path`, sealed, and run onnx's full check on the file.

    Raises:
        ExportError: the check fails.
    """
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)  # 8 for opset 17: TensorRT 8.6 reads up to 9
    path.write_bytes(sealed(model.SerializeToString()))
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the traced graph does not pass onnx.checker: {error}") from error


def _check_bytes(network: DeployedFcn) -> None:
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > MAX_BYTES - 2**20:
        raise ExportError(
            f"the weights take {size / 2**30:.1f} GiB, and one ONNX file holds at most 2; use --precision fp16, "
            "or a network with fewer channels"
        )


def _traced(network: DeployedFcn, fixed: Mapping[str, int], opset: int) -> ModelProto:
    # torch's TorchScript exporter: it writes opset 17 itself, where the newer one writes 18 and cannot convert Pad down
    batch, height, width = (fixed.get(name, size) for name, size in zip(DIMENSIONS, (1, *TRACED_SIZE), strict=True))
    frames = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8)
    output = network.interface.output_tensor(network.net.classes).name
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation of that exporter; tracer's remarks on constants
        torch.onnx.export(
            network,
            (network.as_given(frames),),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=["frames"],
            output_names=[output, "scores"],
            dynamic_axes=_dynamic_axes(network.interface, output, fixed),
        )
    return onnx.load_from_string(file.getvalue())


def _dynamic_axes(interface: Interface, output: str, fixed: Mapping[str, int]) -> dict[str, dict[int, str]]:
    frame_axes, output_axes = (
        {axis: name for axis, name in zip(axes, DIMENSIONS, strict=True) if name not in fixed}
        for axes in (interface.frame_axes, interface.output_axes)
    )
    score_axes = {} if fixed.keys() == set(DIMENSIONS) else {0: "", 2: "", 3: ""}  # found again by inference
    return {"frames": frame_axes, output: output_axes, "scores": score_axes}


def _cleaned(model: ModelProto) -> ModelProto:
    """Constants folded, dead nodes and the tracer's source positions removed."""
    model = _folded(model)
    while write_known_sizes(model):  # a padding that becomes constant makes known what lies behind it
        model = _folded(model)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return model


def _folded(model: ModelProto) -> ModelProto:
    from onnxscript import ir, optimizer

    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    graph = ir.from_proto(model)
    optimizer.optimize_ir(graph, should_fold=_always_folded)
    return ir.to_proto(graph)


def _always_folded(node: Any) -> bool | None:
    """A padding to fixed sizes hangs on a ConstantOfShape, which the optimiser leaves alone by itself."""
    return True if node.op_type == "ConstantOfShape" else None


def _name_dimensions(model: ModelProto, interface: Interface, classes: int, fixed: Mapping[str, int]) -> None:
    _describe(model.graph.input[0], interface.input_tensor(), interface.frame_axes, fixed)
    _describe(model.graph.output[0], interface.output_tensor(classes), interface.output_axes, fixed)


def _describe(value: ValueInfoProto, tensor: Tensor, axes: tuple[int, int, int], fixed: Mapping[str, int]) -> None:
    names = dict(zip(axes, DIMENSIONS, strict=True))
    sizes = [fixed.get(names[axis], names[axis]) if axis in names else size for axis, size in enumerate(tensor.sizes)]
    data_type = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, data_type, sizes))


def _keep_scores_inside(model: ModelProto) -> None:
    """Make `scores` an inner tensor: the graph's only output is `labels`."""
    graph = model.graph
    scores = next(value for value in graph.output if value.name == "scores")
    inferred = [value for value in graph.value_info if value.name == "scores"]
    for value in inferred:
        graph.value_info.remove(value)
    graph.value_info.append(scores)
    graph.output.remove(scores)


def _take_shapes_of_cast_frames(model: ModelProto) -> None:
    """Let nothing but a Cast read `frames`: TensorRT does nothing else with uint8."""
    nodes = model.graph.node
    cast = next(node for node in nodes if node.op_type == "Cast" and node.input[0] == "frames")
    others = [node for node in nodes if node.output != cast.output]
    for node in others:
        if node.op_type == "Shape" and node.input[0] == "frames":
            node.input[0] = cast.output[0]
    del nodes[:]
    nodes.extend([cast, *others])


def _cast_labels_through_float(model: ModelProto) -> None:
    """TensorRT makes uint8 of floats only; the detour is exact below 2^24."""
    last = next(node for node in model.graph.node if "labels" in node.output)
    last.output[0] = "labels_as_float"
    next(attribute for attribute in last.attribute if attribute.name == "to").i = TensorProto.FLOAT
    cast = helper.make_node("Cast", ["labels_as_float"], ["labels"], "labels_as_uint8", to=TensorProto.UINT8)
    model.graph.node.append(cast)


def _widen_labels(model: ModelProto) -> None:
    """int32 labels, asked for or of more than 256 classes: TensorRT and WebGPU know no uint16."""
    cast = next(node for node in model.graph.node if "labels" in node.output)
    next(attribute for attribute in cast.attribute if attribute.name == "to").i = TensorProto.INT32
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
