"""INT8 files and TensorRT: every family is parsed as it is meant, and what would be computed otherwise is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from exports import Export, save
from fcn_export.commands import build_engine
from fcn_export.engines.builder import _Builder
from fcn_export.engines.layer_census import convolutions as counted
from fcn_export.engines.layer_census import network_census
from fcn_export.engines.source import read_source
from fcn_export.engines.trt_flavours import load_flavour
from fcn_export.errors import ExportError
from fcn_export.graph.verify import textured_frames
from fcn_export.kernels import compiling
from fcn_export.quantization.qdq import convolutions, quantised
from fcnrt.contract.flavours import logger_of
from tiny_networks import NAMES

pytest.importorskip("tensorrt_rtx")


def int8_of(path: Path, target: Path) -> tuple[Path, int]:
    """The INT8 form of an exported file, and how many of its convolutions are; labels are not judged here."""
    model = onnx.load(path)
    layers = convolutions(model)[1:-3]
    made = quantised(model, iter([textured_frames(1, 65, 97, seed=3).numpy()]), layers)
    for entry in made.metadata_props:
        if entry.key == "fcn.precision":
            entry.value = '"int8"'
    save(made, target)
    return target, len(layers)


@pytest.fixture
def int8(exported: Export, tmp_path: Path) -> Path:
    return int8_of(exported("torchvision fcn basic blocks"), tmp_path / "net.onnx")[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_family_is_parsed_as_int8(name: str, exported: Export, tmp_path: Path) -> None:
    path, count = int8_of(exported(name), tmp_path / "net.onnx")
    flavour = load_flavour("tensorrt-rtx")
    log = logger_of(flavour.trt)
    source = read_source(path, "kernel")
    network = _Builder(flavour, source, log).parse()  # compares the census with the file's weights
    found = counted(network_census(network))
    assert found["int8"] == count == source.convolutions["int8"] and found["fp32"] > 0
    assert not [line for line in log.errors if "Defaulting" in line]


def test_an_engine_is_built_and_says_so(
    int8: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "compile_kernels", lambda *_: [])
    flags = ["--sm", "89", "--profile", "1x64x64:1x65x97:1x128x128", "--verbose"]
    assert build_engine.main([str(int8), *flags]) == 0
    out, err = capsys.readouterr()
    assert " int8" in out and "Defaulting to INT8" not in err


def set_zero_points(model: ModelProto, dtype: type, value: int) -> None:
    points = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in model.graph.initializer:
        if tensor.name in points:
            filled = np.full(numpy_helper.to_array(tensor).shape, value, dtype)
            tensor.CopyFrom(numpy_helper.from_array(filled, tensor.name))


def quantise_a_bias(model: ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[2])
    whole = numpy_helper.from_array(np.zeros(bias.dims, np.int32), "whole_bias")
    model.graph.initializer.extend([whole, helper.make_tensor("bias_scale", TensorProto.FLOAT, [], [0.1])])
    pair = helper.make_node("DequantizeLinear", ["whole_bias", "bias_scale"], ["bias_again"], "bias_pair")
    node.input[2] = "bias_again"
    model.graph.node.insert(0, pair)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda model: set_zero_points(model, np.uint8, 128), "got uint8, of which its parser makes something else"),
        (lambda model: set_zero_points(model, np.int8, 3), "expected symmetric int8 for TensorRT, got a zero point"),
        (quantise_a_bias, r"got int32 \(quantised biases\), which its parser refuses"),
    ],
)
def test_what_tensorrt_would_compute_otherwise_is_refused(change, expected: str, int8: Path) -> None:
    model = onnx.load(int8)
    change(model)
    save(model, int8)
    with pytest.raises(ExportError, match=expected) as refusal:
        read_source(int8, "kernel")
    assert "export the checkpoint with --precision int8" in str(refusal.value)
