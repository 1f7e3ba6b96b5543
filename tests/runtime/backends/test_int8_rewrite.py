"""INT8 files on the CPU: everything quantised is computed in integers, and what it means stays what it was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fcnrt
from exports import Export, plain_session
from fcnrt.backends import cpu as cpu_backend
from fcnrt.backends import int8_rewrite
from fcnrt.backends import onnxruntime as onnxruntime_backend
from fcnrt.backends import openvino as openvino_backend
from fcnrt.backends.int8_rewrite import halve_weights, make_unsigned, read_bytes, saturates
from fcnrt.backends.onnx_model import OnnxModel
from frames import frames_of
from int8_files import fully_quantised_file

# Residual blocks of both kinds, a VGG whose pools stand between its convolutions, and one without normalisation.
NETWORKS = ["d2l fcn32s", "torchvision fcn", "tramac fcn8s", "caffe fcn8s"]


@pytest.fixture(scope="module")
def fully_quantised(exported: Export, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function: a tiny network with every convolution and addition quantised as TensorRT takes them."""
    folder, made = tmp_path_factory.mktemp("int8"), dict[str, Path]()

    def make(name: str) -> Path:
        if name not in made:
            made[name] = folder / f"{len(made)}.onnx"
            fully_quantised_file(exported(name), made[name])
        return made[name]

    return make


def cut(path: Path) -> OnnxModel:
    model = OnnxModel(path)
    model.cut_at_scores()
    return model


def operators(model: OnnxModel, tmp_path: Path) -> Counter[str]:
    """What ONNX Runtime makes of it, counted."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, str(tmp_path / "optimised.onnx")
    options.add_session_config_entry(onnxruntime_backend.WEIGHTS_FOLDER, str(model.file.parent))
    onnxruntime.InferenceSession(model.with_references(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx", load_external_data=False).graph.node)


def scores(model: OnnxModel, frames: np.ndarray) -> np.ndarray:
    """Its scores, node by node as they stand: nothing is fused."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry(onnxruntime_backend.WEIGHTS_FOLDER, str(model.file.parent))
    session = onnxruntime.InferenceSession(model.with_references(), options, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"frames": frames})[0]


def quantised(model: OnnxModel, kind: str) -> int:
    """How many float nodes of a kind read dequantised values and have their result quantised."""
    graph = model.proto.graph
    kinds = {name: node.op_type for node in graph.node for name in node.output}
    quantisers = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    relus = {node.input[0] for node in graph.node if node.op_type == "Relu" and node.output[0] in quantisers}
    return sum(
        node.op_type == kind and kinds.get(node.input[0]) == "DequantizeLinear" and node.output[0] in quantisers | relus
        for node in graph.node
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_all_that_is_quantised_is_computed_in_integers(name: str, fully_quantised: Any, tmp_path: Path) -> None:
    path = fully_quantised(name)
    convolutions, additions = quantised(cut(path), "Conv"), quantised(cut(path), "Add")
    assert convolutions >= 9
    before, model = operators(cut(path), tmp_path), cut(path)
    make_unsigned(model)
    halve_weights(model)
    read_bytes(model)
    found = operators(model, tmp_path)
    assert found["QLinearConv"] == convolutions > before["QLinearConv"] and found["QLinearAdd"] == additions
    assert found["NhwcMaxPool"] > found["MaxPool"] == found["Cast"] == 0


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("name", [*NETWORKS, "pochih fcns"])
def test_bytes_give_the_scores_that_floats_less_128_do(name: str, color: str, fully_quantised: Any) -> None:
    before, model = cut(fully_quantised(name)), cut(fully_quantised(name))
    frames = frames_of(2, 83, 61, seed=5)
    for each in (before, model):
        if color == "bgr":
            each.swap_channels()
        make_unsigned(each)
    read_bytes(model)
    assert not [node for node in model.proto.graph.node if node.op_type == "Sub"]
    np.testing.assert_array_equal(scores(model, frames), scores(before, frames))


def test_a_first_convolution_in_float_reads_what_it_did(exported: Export) -> None:
    model = cut(exported("d2l fcn32s"))
    before = model.proto.SerializeToString()
    read_bytes(model)
    assert model.proto.SerializeToString() == before


@pytest.mark.parametrize("seven_bits", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_scores_are_as_near_to_float_as_before(
    name: str, seven_bits: bool, fully_quantised: Any, exported: Export
) -> None:
    """Behind ReLUs steps are twice as fine; weights of 7 bits are twice as coarse."""
    path, frames = fully_quantised(name), frames_of(1, 65, 97, seed=7)
    true, before, model = scores(cut(exported(name)), frames), scores(cut(path), frames), cut(path)
    make_unsigned(model)
    if seven_bits:
        halve_weights(model)
    error, error_before = (float(np.abs(found - true).mean()) for found in (scores(model, frames), before))
    assert error <= error_before * (2.5 if seven_bits else 1.5)


def small(nodes: list[Any], **constants: np.ndarray) -> Any:
    """A stand-in for a model: nodes from `x` on, with constants by name."""
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", nodes[-1].output[0])]
    proto = helper.make_model(helper.make_graph(nodes, "small", ends[:1], ends[1:], tensors))

    class Small:
        def __init__(self) -> None:
            self.proto, self.rewritten = proto, False

        def array(self, tensor: Any) -> np.ndarray:
            return numpy_helper.to_array(tensor)

    return Small()


def rewritten(nodes: list[Any]) -> tuple[list[str], dict[str, np.ndarray]]:
    """The operators afterwards, and the constants that QuantizeLinear reads."""
    model = small(nodes, s=np.array(2, np.float32), z=np.array(0, np.int8))
    make_unsigned(model)
    graph = model.proto.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (quantize,) = (node for node in graph.node if node.op_type == "QuantizeLinear")
    (dequantize,) = (node for node in graph.node if node.op_type == "DequantizeLinear")
    assert list(quantize.input[1:]) == list(dequantize.input[1:])
    return [node.op_type for node in graph.node], {key: constants[quantize.input[key]] for key in (1, 2)}  # type: ignore[misc]


Q = helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"])
DQ = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"])
RELU = helper.make_node("Relu", ["x"], ["a"])


def test_behind_a_relu_the_whole_range_is_used_and_the_relu_goes() -> None:
    kinds, constants = rewritten([RELU, Q, DQ])
    assert kinds == ["QuantizeLinear", "DequantizeLinear"]
    assert constants[1] == np.float32(2 * 127 / 255) and constants[2] == 0 and constants[2].dtype == np.uint8


def test_behind_a_pool_of_a_relu_too_and_the_relu_stays() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MaxPool", ["r"], ["a"], kernel_shape=[2, 2])]
    kinds, constants = rewritten([*nodes, Q, DQ])
    assert kinds[:2] == ["Relu", "MaxPool"] and constants[2] == 0


def test_before_and_behind_a_pool_bytes_are_the_same() -> None:
    pool = helper.make_node("MaxPool", ["d"], ["m"], kernel_shape=[2, 2])
    again = [helper.make_node(node.op_type, [name, "s", "z"], [f"{name}'"]) for node, name in ((Q, "m"), (DQ, "m'"))]
    model = small([RELU, Q, DQ, pool, *again], s=np.array(2, np.float32), z=np.array(0, np.int8))
    make_unsigned(model)
    graph = model.proto.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first, second = (node for node in graph.node if node.op_type == "QuantizeLinear")
    assert [constants[name] for name in first.input[1:]] == [constants[name] for name in second.input[1:]]
    assert constants[second.input[2]] == 0 and [node.op_type for node in graph.node].count("Relu") == 0


@pytest.mark.parametrize("kind", ["MaxPool", "Neg"])
def test_elsewhere_zero_is_in_the_middle(kind: str) -> None:
    first = helper.make_node(kind, ["x"], ["a"], **({"kernel_shape": [2, 2]} if kind == "MaxPool" else {}))
    kinds, constants = rewritten([first, Q, DQ])
    assert kinds[0] == kind and constants[1] == 2 and constants[2] == 128


def test_a_relu_that_others_read_stays_for_them() -> None:
    kinds, _ = rewritten([RELU, Q, DQ, helper.make_node("Add", ["a", "d"], ["y"])])
    assert kinds == ["Relu", "QuantizeLinear", "DequantizeLinear", "Add"]


def test_what_is_rounded_for_a_relu_alone_is_rounded_once() -> None:
    """ONNX Runtime 1.23 refuses the additions where one pair of Q and DQ follows another."""
    before = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["p"])]
    before.append(helper.make_node("DequantizeLinear", ["p", "s", "z"], ["x'"]))
    kinds, constants = rewritten([*before, helper.make_node("Relu", ["x'"], ["a"]), Q, DQ])
    assert kinds == ["QuantizeLinear", "DequantizeLinear"] and constants[2] == 0


def test_weights_of_seven_bits() -> None:
    weights = np.array([[-127, -5, 0, 3, 127]], np.int8)
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["y"], axis=0)]
    model = small(nodes, w=weights, s=np.array([0.5], np.float32), z=np.zeros(1, np.int8))
    halve_weights(model)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.proto.graph.initializer}
    values, scale = (constants[name] for name in model.proto.graph.node[0].input[:2])
    assert model.rewritten and scale == 1 and values.tolist() == [[-64, -2, 0, 2, 64]] and values.dtype == np.int8


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [("x86_64", "avx2", True), ("AMD64", "avx512_vnni", False), ("x86_64", "avx_vnni", False), ("aarch64", "", False)],
)
def test_which_processors_saturate(machine: str, flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_rewrite.platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags: sse {flags}\n")
    assert saturates() is expected


@pytest.mark.parametrize("backend", [onnxruntime_backend, openvino_backend], ids=["onnxruntime", "openvino"])
def test_a_file_as_exported(
    backend: ModuleType, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As this processor needs it, and with weights of 7 bits as those without VNNI do."""
    name = backend.__name__.rpartition(".")[2]
    pytest.importorskip(name)
    for seed in range(4):
        Image.fromarray(frames_of(1, 80, 112, seed)[0]).save(tmp_path / f"{seed}.png")
    path = exported("d2l fcn32s", "--precision", "int8", "--calibration", str(tmp_path))
    frames, expected = frames_of(1, 65, 97, seed=9), plain_session(exported("d2l fcn32s"))

    def labels() -> np.ndarray:
        with fcnrt.Segmenter(path, device="cpu", engine=name) as segment:  # type: ignore[arg-type]
            assert segment.precision == "int8"
            return segment(frames)

    float_labels, found = expected.run(["labels"], {"frames": frames})[0], [labels()]
    monkeypatch.setattr(cpu_backend, "saturates", lambda: not saturates())
    found.append(labels())
    with_seven_bits = found[0 if saturates() else 1]
    assert (with_seven_bits == float_labels).mean() >= 0.9 and (found[0] == float_labels).mean() >= 0.9
    assert (found[0] != found[1]).any()
