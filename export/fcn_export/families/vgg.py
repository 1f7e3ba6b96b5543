"""VGG bodies, read from state dicts; torchvision's own layer builder makes them."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from .base import State

Plan = list[int | str]  # torchvision's notation: conv widths, "M" for a max-pooling

VGG16: Plan = list(cfgs["D"])
VGG_PLANS: dict[str, Plan] = {"vgg11": cfgs["A"], "vgg13": cfgs["B"], "vgg16": VGG16, "vgg19": cfgs["E"]}


def vgg_features(plan: Plan) -> nn.Sequential:
    """The `features` of a torchvision VGG of any widths, final pooling included."""
    return make_layers(plan)  # type: ignore[arg-type]


def read_plan(state: State, prefix: str) -> Plan:
    """Widths and poolings from the keys `<prefix>.<index>.weight`: a gap of 3 between indices holds a pooling."""
    keys = [key.split(".") for key in state if key.startswith(prefix + ".") and key.endswith(".weight")]
    indices = sorted(int(parts[-2]) for parts in keys)
    plan: Plan = []
    for index, following in zip(indices, [*indices[1:], indices[-1] + 3], strict=True):
        plan.append(state[f"{prefix}.{index}.weight"].shape[0])
        if following - index == 3:
            plan.append("M")
    return plan


def pooled(features: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The outputs of all max-poolings in turn: pool1, pool2, ..."""
    outputs = []
    for layer in features:
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d):
            outputs.append(x)
    return outputs


def last_width(plan: Plan, pool: int) -> int:
    """Channels of the `pool`-th pooling's output, counted from 1."""
    ends = [index for index, entry in enumerate(plan) if entry == "M"]
    return int(plan[ends[pool - 1] - 1])
