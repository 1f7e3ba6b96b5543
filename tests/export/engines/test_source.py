"""The ONNX side of an engine: the cut gives the same scores, the graph's tail the same labels, bad files one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from exports import Export, plain_session, save, with_uint16_labels
from fcn_export.commands import to_onnx
from fcn_export.engines.builder import expected_interface
from fcn_export.engines.source import check_sizes, read_source, tensor_types
from fcn_export.errors import ExportError
from fcn_export.graph.verify import textured_frames
from fcnrt.errors import FcnrtError
from tiny_networks import CLASSES, NAMES, many_classes

Change = Callable[[onnx.ModelProto], Any]
HALF = ("--precision", "fp16")


def outputs(data: bytes, frames: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": frames})


def scores_of(path: Path, frames: np.ndarray) -> np.ndarray:
    """The inner tensor of the file as it is."""
    model = onnx.load(path)
    model.graph.output.append(next(value for value in model.graph.value_info if value.name == "scores"))
    return outputs(model.SerializeToString(), frames)[1]


@pytest.mark.parametrize("name", NAMES)
def test_graph_up_to_the_scores_gives_the_same_scores(name: str, exported: Export) -> None:
    source = read_source(exported(name), "kernel")
    frames = textured_frames(2, 57, 75, seed=1).numpy()
    onnx.checker.check_model(source.model, full_check=True)
    (scores,) = outputs(source.model.SerializeToString(), frames)
    assert (source.output, source.scores, source.labels, source.fixed) == ("scores", "fp32", "u8", (None,) * 3)
    assert np.array_equal(scores, scores_of(exported(name), frames)) and scores.dtype == np.float32
    made = {name for node in source.model.graph.node for name in node.output}
    assert "labels" not in made and {node.op_type for node in source.model.graph.node}.isdisjoint({"ArgMax"})


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["caffe fcn8s", "tramac fcn16s", "pochih fcns", "torchvision fcn", "d2l fcn32s"])
def test_graph_up_to_the_labels_gives_the_same_labels(name: str, precision: str, exported: Export) -> None:
    path = exported(name, "--precision", precision) if precision == "fp16" else exported(name)
    source = read_source(path, "graph")
    frames = textured_frames(2, 57, 75, seed=2).numpy()
    onnx.checker.check_model(source.model, full_check=True)
    (labels,) = outputs(source.model.SerializeToString(), frames)
    assert labels.dtype == np.uint8 and source.output == "labels"
    assert np.array_equal(labels, plain_session(path).run(None, {"frames": frames})[0])
    assert [node.op_type for node in source.model.graph.node if "frames" in node.input] == ["Cast"]
    last = next(node for node in source.model.graph.node if "labels" in node.output)
    before = next(node for node in source.model.graph.node if last.input[0] in node.output)
    assert [node.op_type for node in (before, last)] == ["Cast", "Cast"]
    assert [helper.get_node_attr_value(node, "to") for node in (before, last)] == [TensorProto.FLOAT, TensorProto.UINT8]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 300 classes."""
    folder = tmp_path_factory.mktemp("many")
    torch.save(many_classes().state_dict(), folder / "many.pth")
    assert to_onnx.main([str(folder / "many.pth")]) == 0
    return folder / "many.onnx"


def test_more_than_256_classes_need_our_tail(many: Path) -> None:
    source = read_source(many, "kernel")
    assert source.labels == "u16" and source.classes == 300


def test_the_graphs_own_labels_of_more_than_256_classes_are_int32(many: Path) -> None:
    source = read_source(many, "graph")
    assert source.output == "labels" and expected_interface(source)[1] == ("labels", "INT32", (-1, -1, -1))
    assert outputs(source.model.SerializeToString(), np.zeros((1, 33, 46, 3), np.uint8))[0].dtype == np.int32


def test_uint16_labels_of_before_are_for_our_tail_alone(many: Path, tmp_path: Path) -> None:
    before = with_uint16_labels(many, tmp_path / "before.onnx")
    assert read_source(before, "kernel").output == "scores"
    with pytest.raises(ExportError, match=r"--tail graph: .* has uint16 labels, which TensorRT cannot give; export"):
        read_source(before, "graph")


def test_convolutions_and_tensor_types_are_counted(exported: Export) -> None:
    half, full = (read_source(exported("caffe fcn8s", *flags), "kernel") for flags in (HALF, ()))
    assert (half.convolutions, full.convolutions) == ({"fp16": 15, "fp32": 5}, {"fp32": 20})
    types = tensor_types(half)
    assert (types["/conv1_1/Conv_output_0"], types["scores"], types["/Sub_output_0"]) == ("fp16", "fp32", "fp32")
    assert "frames" not in types and set(tensor_types(full).values()) == {"fp32"}


def test_bound_of_memory_is_the_largest_layer(exported: Export) -> None:
    source = read_source(exported("caffe fcn32s"), "kernel")
    height, width = 101 + 198, 75 + 198  # padding 100, kernel 3
    assert check_sizes(source, (2, 101, 75)) == 2 * (8 + 8) * height * width * 4  # conv1_1 to conv1_2
    half = read_source(exported("caffe fcn32s", *HALF), "kernel")
    assert check_sizes(half, (2, 101, 75)) == check_sizes(source, (2, 101, 75)) / 2


@pytest.mark.parametrize("tail", ["kernel", "graph"])
@pytest.mark.parametrize("name", ["caffe fcn8s", "tramac fcn16s", "pochih fcns", "torchvision fcn", "d2l fcn32s"])
def test_bound_of_memory_is_below_what_tensorrt_plans(name: str, tail: str, exported: Export) -> None:
    source = read_source(exported(name, *HALF), tail)
    planned = planned_activations(source.model.SerializeToString(), (2, 1088, 1920))
    assert 0.2 * planned < check_sizes(source, (2, 1088, 1920)) <= planned


def planned_activations(data: bytes, shape: tuple[int, int, int]) -> int:
    """What the log of TensorRT for RTX says of an engine for one shape."""
    trt = pytest.importorskip("tensorrt_rtx")
    texts = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, text: str) -> None:
            texts.append(text)

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    assert parser.parse(data)
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile.set_shape("frames", *[(*shape, 3)] * 3)
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
    (words,) = (text.split() for text in texts if text.startswith("Total Activation Memory:"))
    return int(words[3])


def test_tensors_beyond_tensorrts_count_are_refused(exported: Export) -> None:
    source = read_source(exported("caffe fcn8s"), "kernel")
    check_sizes(source, (1, 10000, 10000))
    with pytest.raises(ExportError, match=r"tensor /conv1_1/Conv_output_0 .* 2\.4e\+09 elements, .*lower the maximum"):
        check_sizes(source, (3, 9800, 9800))


def fact(name: str, value: Any) -> Change:
    def change(model: onnx.ModelProto) -> None:
        (entry,) = (entry for entry in model.metadata_props if entry.key == f"fcn.{name}")
        entry.value = json.dumps(value)

    return change


def no_fact(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        kept = [entry for entry in model.metadata_props if not entry.key.startswith(f"fcn.{name}")]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)

    return change


def bad_json(model: onnx.ModelProto) -> None:
    fact("format", 1)(model)
    model.metadata_props[0].value = "{" * 3


def renamed_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "images"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = "images" if name == "frames" else name


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(next(value for value in model.graph.value_info if value.name == "scores"))


def no_scores(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]


def second_reader_of_frames(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["frames"], ["copy of the frames"]))


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def external_in_a_node(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "hidden")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["hidden"], value=tensor))


def unsorted(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (no_fact(""), "no fcn.* metadata; expected a file made by export/to_onnx.py"),
        (no_fact("tail"), "invalid fcn.* metadata ('tail' is missing)"),
        (no_fact("checkpoint_sha256"), "invalid fcn.* metadata ('checkpoint_sha256' is missing)"),
        (fact("format", 2), "fcn.format is 2, this fcnrt reads up to 1"),
        (fact("format", True), "fcn.format is True, expected 1"),
        (fact("format", [1]), "fcn.format is [1], expected 1"),
        (fact("classes", []), "invalid fcn.* metadata (expected class names, got [])"),
        (fact("classes", [1, 2]), "invalid fcn.* metadata (expected text, got 1)"),
        (fact("classes", ["a", "b"]), "inner tensor scores float32 (?, 2, ?, ?), got frames uint8"),
        (fact("min_size", 0), "invalid fcn.* metadata (expected a whole number from 1 to 4096, got 0)"),
        (fact("min_size", "32"), "invalid fcn.* metadata (expected a whole number from 1 to 4096, got '32')"),
        (fact("precision", "int8"), "says that it is int8, its convolutions are fp32"),
        (bad_json, "not JSON"),
        (renamed_input, "got images uint8 (batch, height, width, 3)"),
        (second_output, "changed by another tool"),
        (no_scores, "changed by another tool"),
        (second_reader_of_frames, "changed by another tool"),
        (external, "its weights lie in another file"),
        (external_in_a_node, "its weights lie in another file"),
        (unsorted, "does not pass onnx.checker"),
    ],
)
def test_file_that_is_not_as_exported(change: Change, text: str, exported: Export, tmp_path: Path) -> None:
    model = onnx.load(exported("torchvision fcn"))
    change(model)
    path = tmp_path / "changed.onnx"
    save(model, path)
    with pytest.raises(FcnrtError) as refusal:
        read_source(path, "kernel")
    message = str(refusal.value)
    assert message.startswith(f"{path}: ") and text in message and "\n" not in message, message


@pytest.mark.parametrize("content", [b"", b"not a model at all\n", b"\x80\x04K\x01.", b"PK\x03\x04", b"\x00" * 4096])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(FcnrtError, match=r"damaged or not an ONNX file|no fcn\.\* metadata"):
        read_source(path, "kernel")


def test_truncated_and_altered_files_are_refused_or_whole(exported: Export, tmp_path: Path) -> None:
    data = exported("torchvision fcn").read_bytes()
    path = tmp_path / "part.onnx"
    for length in range(0, len(data), len(data) // 25):
        path.write_bytes(data[:length])
        with pytest.raises(FcnrtError):
            read_source(path, "kernel")
    random = np.random.default_rng(0)
    for place in random.integers(0, len(data), 60):
        altered = bytearray(data)
        altered[place] ^= 1 << random.integers(8)
        path.write_bytes(altered)
        try:
            source = read_source(path, "kernel")
        except FcnrtError as error:
            assert "\n" not in str(error)
        else:  # a weight or a name
            assert source.classes == CLASSES


def test_missing_file_and_folder_are_the_systems_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_source(tmp_path / "none.onnx", "kernel")
    with pytest.raises(IsADirectoryError):
        read_source(tmp_path, "kernel")
