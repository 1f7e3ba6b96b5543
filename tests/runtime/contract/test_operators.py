"""Graphs that hold what no exported one does: refused before an engine sees them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exports import Export, save
from fcnrt import ModelFileError
from fcnrt.backends import read_model

Change = Callable[[onnx.ModelProto], None]


@pytest.fixture
def model(exported: Export, tmp_path: Path) -> Path:
    return Path(shutil.copy(exported("caffe fcn8s"), tmp_path / "net.onnx"))


def node(kind: str, inputs: tuple[str, ...] = (), domain: str = "", **attributes: object) -> Change:
    def add(proto: onnx.ModelProto) -> None:
        proto.graph.node.insert(0, helper.make_node(kind, inputs, ["bomb"], domain=domain, **attributes))

    return add


def constant(kind: str, *values: np.ndarray, **attributes: object) -> Change:
    def add(proto: onnx.ModelProto) -> None:
        names = [f"bomb_{index}" for index in range(len(values))]
        proto.graph.initializer.extend(map(numpy_helper.from_array, values, names))
        node(kind, tuple(names), **attributes)(proto)

    return add


def endless() -> onnx.GraphProto:
    kind = helper.make_tensor_type_proto(TensorProto.BOOL, ())
    again = [helper.make_value_info("again", kind)]
    return helper.make_graph([helper.make_node("Identity", ["again"], ["on"])], "body", again, again)


def attribute(kind: str, name: str, value: object) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        changed = next(node for node in proto.graph.node if node.op_type == kind)
        kept = [entry for entry in changed.attribute if entry.name != name]
        del changed.attribute[:]
        changed.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def scaled(proto: onnx.ModelProto) -> None:
    resize = next(node for node in proto.graph.node if node.op_type == "Resize")
    proto.graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, 5000, 5000]), "giant"))
    resize.input[2] = "giant"


def doubled(proto: onnx.ModelProto) -> None:
    name = proto.graph.node[0].output[0]
    for step in range(40):
        proto.graph.node.insert(step + 1, helper.make_node("Concat", [name, name], [f"bomb_{step}"], axis=0))
        name = f"bomb_{step}"


def crowded(proto: onnx.ModelProto) -> None:
    for step in range(5000):
        proto.graph.node.append(helper.make_node("Relu", ["scores"], [f"bomb_{step}"]))


def local_function(proto: onnx.ModelProto) -> None:
    proto.functions.append(helper.make_function("x", "Bomb", [], [], [], proto.opset_import))


BOMBS = {
    "Loop": (node("Loop", ("", ""), body=endless()), "operator Loop"),
    "If": (node("If", ("x",), then_branch=endless(), else_branch=endless()), "operator If"),
    "Scan": (node("Scan", ("x",), body=endless(), num_scan_inputs=1), "operator Scan"),
    "RandomNormal": (node("RandomNormal", shape=[100000, 100000]), "operator RandomNormal"),
    "Expand": (constant("Expand", np.float32([0]), np.int64([1 << 33])), "operator Expand"),
    "Tile": (constant("Tile", np.float32([0]), np.int64([1 << 33])), "operator Tile"),
    "Range": (constant("Range", np.int64(0), np.int64(1 << 40), np.int64(1)), "operator Range"),
    "OneHot": (constant("OneHot", np.int64([0]), np.int64(1 << 33), np.float32([0, 1])), "operator OneHot"),
    "MatMul": (node("MatMul", ("x", "x")), "operator MatMul"),
    "another's": (node("Gelu", ("x",), domain="com.microsoft"), "operator com.microsoft.Gelu"),
    "a name that writes": (node("\x1b[2J\n", ("x",)), r"operator \x1b[2J\n"),
    "ConstantOfShape": (constant("ConstantOfShape", np.int64([1 << 16, 1 << 16])), "ConstantOfShape of more than"),
    "computed ConstantOfShape": (node("ConstantOfShape", ("scores",)), "ConstantOfShape of more than"),
    "a graph in what is ours": (node("Relu", ("x",), body=endless()), "Relu with a graph"),
    "kernel": (attribute("MaxPool", "kernel_shape", [100000, 100000]), "MaxPool with kernel_shape beyond 1024"),
    "pads": (attribute("Conv", "pads", [1 << 20] * 4), "Conv with pads beyond 1024"),
    "long list": (attribute("Conv", "pads", [1] * 100000), "Conv with a graph or a long list"),
    "scale": (scaled, "Resize by a scale beyond 64"),
    "size": (constant("Reshape", np.float32([0]), np.int64([1 << 30])), "constant bomb_1 beyond 65536"),
    "doubling": (doubled, "a tensor of more than 268435456 elements for frames of 1x64x64x3"),
    "many nodes": (crowded, "operators, expected at most 4096"),
    "function": (local_function, "functions, training or sparse tensors"),
}


@pytest.mark.parametrize(("change", "reason"), BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused(change: Change, reason: str, model: Path) -> None:
    proto = onnx.load(model)
    change(proto)
    save(proto, model)
    with pytest.raises(ModelFileError) as refusal:
        read_model(model)
    text = str(refusal.value)
    assert text.startswith(f"{model}: not a file of export/to_onnx.py (") and reason in text and text.isprintable()
