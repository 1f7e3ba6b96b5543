"""ResNet bodies of any depth and width, read from state dicts; the blocks are torchvision's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from .base import State

LAYERS = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Stage:
    """One stage of residual blocks: how many, the width of their 3x3 convolutions, the channels they give."""

    blocks: int
    width: int
    out: int


@dataclass(frozen=True)
class ResNetPlan:
    """A ResNet in numbers. A stem of one width is the 7x7 convolution, of three the deep stem of 3x3 ones."""

    stem: tuple[int, ...]
    stages: tuple[Stage, ...]
    bottleneck: bool

    @classmethod
    def standard(cls, blocks: Sequence[int], bottleneck: bool, stem: tuple[int, ...] = (64,)) -> ResNetPlan:
        widths = (64, 128, 256, 512)
        grow = 4 if bottleneck else 1
        return cls(stem, tuple(Stage(n, w, w * grow) for n, w in zip(blocks, widths, strict=True)), bottleneck)

    @classmethod
    def from_state(cls, state: State, stem: Sequence[str], stages: Sequence[str]) -> ResNetPlan:
        """Read from weights: `stem` are the keys of the stem's convolutions, `stages` the prefixes of the stages."""
        bottleneck = f"{stages[0]}.0.conv3.weight" in state
        last = "conv3" if bottleneck else "conv2"
        plan = []
        for prefix in stages:
            blocks = next(n for n in range(len(state)) if f"{prefix}.{n}.conv1.weight" not in state)
            width, out = (state[f"{prefix}.0.{name}.weight"].shape[0] for name in ("conv1", last))
            plan.append(Stage(blocks, width, out))
        return cls(tuple(state[key].shape[0] for key in stem), tuple(plan), bottleneck)


def stem_conv(widths: tuple[int, ...]) -> nn.Module:
    """The stride-2 stem before `bn1`: one 7x7 convolution, or three 3x3 ones (ResNet v1s, key `conv1.{0,3,6}`)."""
    if len(widths) == 1:
        return nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
    first, second, third = widths
    return nn.Sequential(
        nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
        nn.Conv2d(first, second, 3, 1, 1, bias=False), nn.BatchNorm2d(second), nn.ReLU(),
        nn.Conv2d(second, third, 3, 1, 1, bias=False),
    )  # fmt: skip


# Stride and dilation of each stage, by the output stride of the whole: strides of the last stages become dilation.
STEPS = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
}


def resnet_layers(plan: ResNetPlan, output_stride: int) -> dict[str, nn.Module]:
    """The children of a ResNet up to `layer4` by name."""
    channels = plan.stem[-1]
    layers: dict[str, nn.Module] = {
        "conv1": stem_conv(plan.stem),
        "bn1": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, 2, 1),
    }
    for name, stage, (stride, dilation) in zip(LAYERS, plan.stages, STEPS[output_stride], strict=True):
        layers[name] = _residual_stage(stage, plan.bottleneck, channels, stride, dilation)
        channels = stage.out
    return layers


def _residual_stage(stage: Stage, bottleneck: bool, channels: int, stride: int, dilation: int) -> nn.Sequential:
    # The first block of a dilated stage keeps the dilation of the stage before (torchvision ResNet._make_layer).
    first = _block(bottleneck, channels, stage, stride, max(1, dilation // 2))
    rest = [_block(bottleneck, stage.out, stage, 1, dilation) for _ in range(stage.blocks - 1)]
    return nn.Sequential(first, *rest)


def _block(bottleneck: bool, channels: int, stage: Stage, stride: int, dilation: int) -> nn.Module:
    shortcut = None
    if stride != 1 or channels != stage.out:
        shortcut = nn.Sequential(nn.Conv2d(channels, stage.out, 1, stride, bias=False), nn.BatchNorm2d(stage.out))
    if not bottleneck:
        return _dilated(BasicBlock(channels, stage.out, stride, shortcut), dilation)
    planes = stage.out // Bottleneck.expansion
    base_width = 64 * (stage.width + 0.5) / planes  # torchvision takes int(planes * base_width / 64)
    return Bottleneck(channels, planes, stride, shortcut, base_width=base_width, dilation=dilation)  # type: ignore[arg-type]


def _dilated(block: BasicBlock, dilation: int) -> BasicBlock:
    """mmsegmentation dilates the first convolution of a basic block; torchvision none."""
    block.conv1.dilation = block.conv1.padding = (dilation, dilation)
    return block
