"""Networks with random weights that label pictures in several classes: every family and variant at a fraction of its
width, and one of each family at the upstream's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fcn_export.checkpoint_options import InputFacts, checkpoint_options
from fcn_export.command_line import add_checkpoint_flags
from fcn_export.families import Fcn, ScoreConv, ScoreDeconv, TorchvisionFcn
from fcn_export.families.caffe import CaffeFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.families.pochih import PochihFcn
from fcn_export.families.resnet import ResNetPlan, Stage
from fcn_export.families.tramac import TramacResNetFcn, TramacVggFcn
from fcn_export.families.vgg import VGG_PLANS, Plan
from fcn_export.families.zijundeng import ZijundengFcn
from network_names import CLASSES, NAMES

WIDTHS = (8, 8, 12, 16, 16)


def narrow(plan: Plan) -> Plan:
    """A VGG plan with a sixteenth of the channels, but at least 8."""
    return [entry if isinstance(entry, str) else max(8, entry // 16) for entry in plan]


def narrow_resnet(bottleneck: bool, stem: tuple[int, ...] = (8,)) -> ResNetPlan:
    grow = 4 if bottleneck else 1
    stages = [Stage(blocks, width, grow * width) for blocks, width in ((1, 8), (2, 8), (1, 12), (2, 16))]
    return ResNetPlan(stem, tuple(stages), bottleneck)


def _vgg_family(family: type[Fcn], variant: str, name: str) -> Fcn:
    plan = narrow(VGG_PLANS[name])
    if family is PochihFcn:
        return PochihFcn(variant, plan, (32, 16, 8, 8, 8), CLASSES)  # as wide as the pools they are added to
    return TramacVggFcn(variant, plan, 4, CLASSES)


MAKERS: dict[str, Callable[[], Fcn]] = {
    **{f"caffe {v}": lambda v=v: CaffeFcn(v, WIDTHS, 24, CLASSES) for v in CaffeFcn.variants},
    **{f"zijundeng {v}": lambda v=v: ZijundengFcn(v, WIDTHS, 24, CLASSES) for v in ZijundengFcn.variants},
    **{f"tramac {v}": lambda v=v: _vgg_family(TramacVggFcn, v, "vgg16") for v in TramacVggFcn.variants},
    **{f"pochih {v}": lambda v=v: _vgg_family(PochihFcn, v, "vgg16") for v in PochihFcn.variants},
    **{f"pochih fcns {n}": lambda n=n: _vgg_family(PochihFcn, "fcns", n) for n in ("vgg11", "vgg13", "vgg19")},
    "tramac-resnet fcn": lambda: TramacResNetFcn("fcn", narrow_resnet(True, (6, 6, 10)), 8, CLASSES),
    "torchvision fcn": lambda: TorchvisionFcn("fcn", narrow_resnet(True), 8, CLASSES),
    "torchvision fcn basic blocks": lambda: TorchvisionFcn("fcn", narrow_resnet(False), 8, CLASSES),
    "d2l fcn32s": lambda: D2lFcn("fcn32s", narrow_resnet(False), CLASSES),
    "d2l fcn32s wider middle": lambda: D2lFcn("fcn32s", narrow_resnet(False), CLASSES, middle=9),
}
assert tuple(MAKERS) == NAMES
FULL_WIDTH: dict[str, Callable[[], Fcn]] = {
    "caffe fcn8s": lambda: CaffeFcn("fcn8s"),
    "zijundeng fcn16s": lambda: ZijundengFcn("fcn16s"),
    "tramac fcn8s": lambda: TramacVggFcn("fcn8s"),
    "tramac-resnet fcn": lambda: TramacResNetFcn(),
    "pochih fcns": lambda: PochihFcn("fcns"),
    "torchvision fcn": lambda: TorchvisionFcn(),
    "d2l fcn32s": lambda: D2lFcn(),
}


def tiny(name: str) -> Fcn:
    """A network of `MAKERS` in eval mode; the same weights every time."""
    return drawn(MAKERS[name])


def many_classes() -> TorchvisionFcn:
    """A network of 300 classes whose labels are all beyond uint8: 280 and up."""
    torch.manual_seed(0)
    net = TorchvisionFcn("fcn", narrow_resnet(True), 8, classes=300).eval()
    net.classifier[4].bias.data[:280] -= 100
    return net


def drawn(make: Callable[[], Fcn]) -> Fcn:
    """A network in eval mode with random weights, the same every time."""
    torch.manual_seed(0)
    net = make().eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            _draw_statistics(module)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and not isinstance(module, (ScoreConv, ScoreDeconv)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    _spread_scores(net)
    return net


def _draw_statistics(norm: nn.BatchNorm2d) -> None:
    norm.running_mean.normal_(0, 0.2)
    norm.running_var.uniform_(0.5, 2)
    norm.weight.uniform_(0.5, 1.5)
    norm.bias.normal_(0, 0.2)


def _spread_scores(net: Fcn) -> None:
    """Centre and scale what each score layer gives for one textured picture, or one class would win everywhere."""

    def spread(layer: ScoreConv, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        mean, std = output.mean((0, 2, 3)), output.std((0, 2, 3)).clamp_min(1e-6)
        layer.weight.div_(std.view(-1, 1, 1, 1))
        layer.bias.sub_(mean).div_(std)
        return (output - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

    hooks = [layer.register_forward_hook(spread) for layer in net.modules() if isinstance(layer, ScoreConv)]
    contract = net.contracts[0]
    coarse = torch.rand(2, 3, 9, 7) / contract.scale - torch.tensor(contract.mean).view(3, 1, 1)
    picture = nn.functional.interpolate(coarse * contract.scale, size=(160, 192), mode="bilinear")
    net(picture / torch.tensor(contract.std).view(3, 1, 1))
    for hook in hooks:
        hook.remove()


def upstream_state(net: Fcn) -> dict[str, Tensor]:
    """The state dict under the keys that the upstream code would save."""
    state = net.state_dict()
    return _zijundeng_keys(state, net.variant) if isinstance(net, ZijundengFcn) else dict(state)


def _zijundeng_keys(state: dict[str, Tensor], variant: str) -> dict[str, Tensor]:
    layers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # convolutions in torchvision's vgg16.features
    starts = {"fcn32s": {5: 0}, "fcn16s": {4: 0, 5: 24}, "fcn8s": {3: 0, 4: 17, 5: 24}}[variant]
    names = {"fc6": "score_fr.0", "fc7": "score_fr.3", "score_fr": "score_fr.6"}
    convs = [key.removesuffix(".weight") for key in state if key.startswith("conv") and key.endswith(".weight")]
    for conv, layer in zip(convs, layers, strict=True):
        block = max((number for number, start in starts.items() if start <= layer), key=lambda number: starts[number])
        names[conv] = f"features{block}.{layer - starts[block]}"
    renamed = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        renamed[f"{names.get(module, module)}.{leaf}"] = value
    return renamed


INPUT_FLAGS = {
    "d2l": ["--input-scale", "1/255"],
    "zijundeng": ["--input-scale", "1/255"],
    "pochih": ["--mean", "103.939/255,116.779/255,123.68/255", "--std", "1"],
}


def options_for(name: str) -> list[str]:
    """The flags that say what the keys of a tiny network cannot tell."""
    family, variant = name.split()[:2]
    return ["--variant", variant, *INPUT_FLAGS.get(family, [])]


def stated_input(family: str) -> InputFacts:
    """What the flags for a family say of its input."""
    parser = argparse.ArgumentParser()
    add_checkpoint_flags(parser)
    return checkpoint_options(parser.parse_args(INPUT_FLAGS.get(family, []))).input
