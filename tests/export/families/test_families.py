"""Structure against published numbers, forward passes against the upstream libraries that are installed."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from fcn_export.families import FAMILIES, Fcn
from fcn_export.families.base import bilinear_kernel
from fcn_export.families.caffe import CaffeFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.families.pochih import PochihFcn
from fcn_export.families.resnet import ResNetPlan
from fcn_export.families.torchvision_fcn import TorchvisionFcn
from fcn_export.families.tramac import TramacVggFcn
from fcn_export.families.vgg import VGG_PLANS, read_plan
from tiny_networks import narrow, tiny


def weights(net: Fcn) -> dict[str, torch.Tensor]:
    return {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    ("make", "keys", "parameters"),
    [
        (lambda: CaffeFcn("fcn32s"), 33, 136_152_917),
        (lambda: CaffeFcn("fcn16s"), 36, 134_815_994),
        (lambda: CaffeFcn("fcn8s"), 39, 134_489_759),
        (lambda: CaffeFcn("fcn8s-atonce"), 39, 134_489_759),
        (lambda: TramacVggFcn("fcn32s"), 26 + 7, None),
        (lambda: TramacVggFcn("fcn16s"), 26 + 7 + 2, None),
        (lambda: TramacVggFcn("fcn8s"), 26 + 7 + 4, None),
        (lambda: PochihFcn("fcns", VGG_PLANS["vgg11"]), 53 - 5, 13_150_132),
        (lambda: PochihFcn("fcns", VGG_PLANS["vgg13"]), 57 - 5, 13_334_644),
        (lambda: PochihFcn("fcns", VGG_PLANS["vgg16"]), 63 - 5, 18_644_340),
        (lambda: PochihFcn("fcns", VGG_PLANS["vgg19"]), 69 - 5, 23_954_036),
        (lambda: D2lFcn(), 124 - 20, 12_993_642),
    ],
)
def test_full_size_has_the_published_keys_and_parameters(make, keys: int, parameters: int | None) -> None:
    with torch.device("meta"):
        net = make()
    assert len(weights(net)) == keys
    if parameters is not None:
        assert sum(parameter.numel() for parameter in net.parameters()) == parameters


@pytest.mark.parametrize("blocks", [(3, 4, 6, 3), (3, 4, 23, 3)], ids=["resnet50", "resnet101"])
def test_torchvision_forward_is_torchvisions(blocks: tuple[int, ...]) -> None:
    name = {6: "fcn_resnet50", 23: "fcn_resnet101"}[blocks[2]]
    theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=True).eval()
    ours = TorchvisionFcn("fcn", ResNetPlan.standard(blocks, bottleneck=True)).eval()
    ours.load_state_dict(TorchvisionFcn.canonical(theirs.state_dict()))
    x = torch.randn(1, 3, 41, 58)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x)["out"], rtol=0, atol=0)


def test_d2l_forward_is_the_chapters() -> None:
    body = torchvision.models.resnet18(weights=None)
    theirs = nn.Sequential(*list(body.children())[:-2])
    theirs.add_module("final_conv", nn.Conv2d(512, 21, 1))
    theirs.add_module("transpose_conv", nn.ConvTranspose2d(21, 21, 64, padding=16, stride=32))
    ours = D2lFcn().eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 45, 70)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs.eval()(x)[:, :, :45, :70], rtol=0, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 64), (223, 97)])
@pytest.mark.parametrize("variant", CaffeFcn.variants)
def test_caffe_takes_any_size(variant: str, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert tiny(f"caffe {variant}")(torch.zeros(1, 3, *size)).shape == (1, 7, *size)


def test_at_once_scales_the_skips() -> None:
    plain, at_once = tiny("caffe fcn8s"), tiny("caffe fcn8s-atonce")
    at_once.load_state_dict(plain.state_dict())
    with torch.no_grad():
        plain.score_pool4.weight.mul_(0.01)
        plain.score_pool3.weight.mul_(0.0001)
    x = torch.randn(1, 3, 40, 33) * 50
    torch.testing.assert_close(plain(x), at_once(x), rtol=1e-4, atol=1e-4)


def test_pochih_variants_differ_in_the_forward_pass_alone() -> None:
    x = torch.randn(1, 3, 64, 96)
    state = tiny("pochih fcns").state_dict()
    outputs = []
    for variant in PochihFcn.variants:
        net = tiny(f"pochih {variant}")
        net.load_state_dict(state)
        outputs.append(net(x))
    for index, output in enumerate(outputs):
        assert all((output - other).abs().max() > 0.01 for other in outputs[:index])


@pytest.mark.parametrize("size", [4, 16, 32, 64])
def test_bilinear_kernel_is_exact(size: int) -> None:
    stride = size // 2
    steps = [(2 * min(index, size - 1 - index) + 1) / size for index in range(size)]
    expected = torch.tensor([[a * b for b in steps] for a in steps], dtype=torch.float64)
    assert torch.equal(bilinear_kernel(size).double(), expected)
    assert bilinear_kernel(size).sum() == stride**2


@pytest.mark.parametrize("name", VGG_PLANS)
def test_vgg_plan_is_read_from_weights(name: str) -> None:
    plan = narrow(VGG_PLANS[name])
    state = PochihFcn("fcns", plan).state_dict()
    assert read_plan(state, "pretrained_net.features") == plan


def test_family_names_are_unique() -> None:
    names = [family.family for family in FAMILIES]
    assert len(set(names)) == len(names) == 9
