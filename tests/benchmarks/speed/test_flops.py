"""Operations of exported graphs: against torch's own counter, and the known figures of full-size networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fcn_bench.speed.flops import convolution_flops
from fcn_export.families import Fcn, TorchvisionFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.graph.deploy import deploy
from fcn_export.graph.onnx_file import trace
from tiny_networks import NAMES, tiny

Export = Callable[..., Path]
SHAPE = (2, 97, 131)


@pytest.mark.parametrize("name", NAMES)
def test_torch_counts_as_many(name: str, exported: Export) -> None:
    net = tiny(name)
    network = deploy(net, net.contracts[0], "rgb", half=False)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(*SHAPE, 3, dtype=torch.uint8))
    assert convolution_flops(exported(name), *SHAPE) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("make", "classes", "known"),
    [(TorchvisionFcn, 21, (324, 973, 2189)), (D2lFcn, 11, (22.6, 68, 153))],
    ids=("resnet50", "resnet18"),
)
def test_known_figures_of_full_size_networks(
    make: type[Fcn], classes: int, known: tuple[float, ...], tmp_path: Path
) -> None:
    net = make(classes=classes).eval().requires_grad_(False)
    onnx.save(trace(deploy(net, net.contracts[0], "rgb", half=False), {}, 17), tmp_path / "net.onnx")
    sizes = ((480, 640), (720, 1280), (1080, 1920))
    assert [convolution_flops(tmp_path / "net.onnx", 1, *size) / 1e9 for size in sizes] == pytest.approx(
        known, rel=5e-3
    )
    (tmp_path / "net.onnx").unlink()


def test_a_fixed_file_is_not_asked_for_another_size(exported: Export) -> None:
    model = exported("torchvision fcn", "--height", "64", "--width", "96")
    assert convolution_flops(model, 1, 64, 96) > 0
    with pytest.raises(ValueError, match="fixed to 64, asked for 97"):
        convolution_flops(model, *SHAPE)


def test_a_size_that_cannot_be_told_is_no_zero(exported: Export, tmp_path: Path) -> None:
    proto = onnx.load(exported("torchvision fcn"))
    first = next(node for node in proto.graph.node if node.op_type == "Conv")
    strange = onnx.helper.make_node("Strange", [first.input[0]], ["strange"], domain="somebody.else")
    first.input[0] = "strange"
    proto.graph.node.insert(list(proto.graph.node).index(first), strange)
    proto.opset_import.append(onnx.helper.make_opsetid("somebody.else", 1))
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="cannot be told"):
        convolution_flops(tmp_path / "net.onnx", *SHAPE)
