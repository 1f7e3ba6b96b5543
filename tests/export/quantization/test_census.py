"""What of a ResNet-18 and a ResNet-50, thin ones of full depth, engines on the CPU compute in integers."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from exports import save
from fcn_export.commands import to_onnx
from fcn_export.families import Fcn, TorchvisionFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.families.resnet import ResNetPlan, Stage
from fcn_export.quantization.choice import quantisable
from fcn_export.quantization.qdq import quantised
from fcnrt.backends import onnxruntime as onnxruntime_backend
from fcnrt.backends.int8_rewrite import make_unsigned, read_bytes
from fcnrt.backends.onnx_model import OnnxModel
from frames import frames_of
from tiny_networks import options_for, upstream_state

CLASSES = 5


def plan(blocks: tuple[int, ...], bottleneck: bool) -> ResNetPlan:
    grow = 4 if bottleneck else 1
    stages = [Stage(count, 8 + index, grow * (8 + index)) for index, count in enumerate(blocks)]
    return ResNetPlan((8,), tuple(stages), bottleneck)


NETWORKS = {
    "d2l fcn32s": (lambda: D2lFcn("fcn32s", plan((2, 2, 2, 2), False), CLASSES), 21, 8),
    "torchvision fcn": (lambda: TorchvisionFcn("fcn", plan((3, 4, 6, 3), True), 8, CLASSES), 55, 16),
}


@pytest.fixture(params=NETWORKS)
def rewritten(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[OnnxModel, int, int]:
    """Up to the scores, as engines get it; how many quantised convolutions and additions it has."""
    make, convolutions, additions = NETWORKS[request.param]
    torch.manual_seed(0)
    net: Fcn = make().eval()
    torch.save(upstream_state(net), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), *options_for(request.param)]) == 0
    exact = onnx.load(tmp_path / "net.onnx")
    model = quantised(exact, iter([frames_of(1, 65, 97, seed=1)]), quantisable(exact))
    next(entry for entry in model.metadata_props if entry.key == "fcn.precision").value = '"int8"'
    made = OnnxModel(save(model, tmp_path / "int8.onnx"))
    made.cut_at_scores()
    make_unsigned(made)
    return made, convolutions, additions


def test_in_onnxruntime(rewritten: tuple[OnnxModel, int, int], tmp_path: Path) -> None:
    model, convolutions, additions = rewritten
    read_bytes(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, str(tmp_path / "optimised.onnx")
    options.add_session_config_entry(onnxruntime_backend.WEIGHTS_FOLDER, str(tmp_path))
    onnxruntime.InferenceSession(model.with_references(), options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "optimised.onnx", load_external_data=False)
    found = Counter(node.op_type for node in optimised.graph.node)
    assert (found["QLinearConv"], found["QLinearAdd"]) == (convolutions - 1, additions)  # the score layer gives floats


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="kernels have other names there")
def test_in_openvino(rewritten: tuple[OnnxModel, int, int]) -> None:
    openvino = pytest.importorskip("openvino")
    model, convolutions, _ = rewritten
    graph = openvino.Core().read_model(model.with_weights())
    nodes = openvino.Core().compile_model(graph, "CPU").get_runtime_model().get_ordered_ops()
    told = [node.get_rt_info() for node in nodes]
    kernels = [str(info["primitiveType"].value) for info in told if info["layerType"].value == "Convolution"]
    assert sum(kernel.endswith("I8") for kernel in kernels) == convolutions
