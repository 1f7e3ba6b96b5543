"""mmsegmentation's FCN: FCNHead on a dilated ResNetV1c or ResNet (configs/fcn of open-mmlab/mmsegmentation).

What the keys do not tell, dilation and align_corners, the config in a checkpoint's `meta` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fcnrt.contract.tail import Tail

from .base import Fcn, InputContract, ScoreConv, State, Told
from .mmseg_config import told_by_config
from .resnet import LAYERS, ResNetPlan, resnet_layers

RESNET50_V1C = ResNetPlan.standard((3, 4, 6, 3), bottleneck=True, stem=(32, 32, 64))
ALIGNED = "-aligned"
THRESHOLD = 0.3  # that upstream compares a single class's sigmoid with, unless the config says another
STEM_NORM = "backbone.stem.7."


class ConvModule(nn.Sequential):
    """mmcv's: convolution, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, channels: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.activate = nn.ReLU()


class FcnHead(nn.Module):
    """Some convolutions, their input beside their output in one more where `concat`, and the scores."""

    def __init__(self, in_channels: int, channels: int, convs: int, kernel: int, concat: bool, classes: int):
        super().__init__()
        widths = [in_channels, *[channels] * convs]
        self.convs = nn.Sequential(*(ConvModule(a, b, kernel) for a, b in pairwise(widths)))
        self.concat = concat
        if concat:
            self.conv_cat = ConvModule(in_channels + widths[-1], channels, kernel)
        self.conv_seg = ScoreConv(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.convs(x)
        if self.concat:
            features = self.conv_cat(torch.cat((x, features), dim=1))
        return self.conv_seg(features)


class MmsegFcn(Fcn):
    """Variants are named by output stride, and by whether scores are resized with aligned corners."""

    family = "mmseg"
    source = "open-mmlab/mmsegmentation"
    variants = tuple(f"fcn-d{stride}{align}" for align in ("", ALIGNED) for stride in (8, 16, 32))
    anchors = (
        ("decode_head.conv_seg.weight", "backbone.stem.0.weight", "backbone.layer4.0.conv1.weight"),
        ("decode_head.conv_seg.weight", "backbone.conv1.weight", "backbone.layer4.0.conv1.weight"),
    )
    contracts = (InputContract("rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),)
    default_classes = {19: "cityscapes", 21: "voc", 150: "ade20k"}

    def __init__(
        self,
        variant: str = "fcn-d8",
        plan: ResNetPlan = RESNET50_V1C,
        classes: int = 19,
        channels: int = 512,
        convs: int = 2,
        kernel: int = 3,
        concat: bool = True,
    ):
        super().__init__()
        self.variant, self.classes = variant, classes
        structure = self.structure_of(variant, {})
        self.tail = Tail("align_corners" if structure["align_corners"] else "half_pixel")
        self.backbone = nn.Sequential()
        for name, layer in resnet_layers(plan, structure["output_stride"]).items():
            self.backbone.add_module(name, layer)
        self.decode_head = FcnHead(plan.stages[-1].out, channels, convs, kernel, concat, classes)

    @classmethod
    def matches(cls, state: State) -> bool:
        plain_head = not any(key.startswith("decode_head.") and not _of_fcn_head(key) for key in state)
        return super().matches(state) and plain_head

    @classmethod
    def structure_of(cls, variant: str, state: State) -> dict[str, Any]:
        stride = int(variant.removeprefix("fcn-d").removesuffix(ALIGNED))
        return {"output_stride": stride, "align_corners": variant.endswith(ALIGNED)}

    @classmethod
    def usual_among(cls, variants: tuple[str, ...]) -> str | None:
        aligned = {variant.endswith(ALIGNED) for variant in variants}
        return variants[0] if len(aligned) == 1 else None

    @classmethod
    def question(cls, variants: tuple[str, ...]) -> str:
        return "--align-corners no (as in upstream's own configs) or --align-corners yes, as the training's config says"

    @classmethod
    def told(cls, meta: Mapping[str, Any]) -> Told:
        return told_by_config(meta, cls.contracts[0], THRESHOLD)

    @classmethod
    def canonical(cls, state: State) -> State:
        """Without auxiliary heads; the deep stem as Tramac names it, whose last BatchNorm is `bn1`."""
        renamed = {}
        for key, value in state.items():
            if key.startswith(STEM_NORM):
                key = key.replace(STEM_NORM, "backbone.bn1.")
            if not key.startswith(("auxiliary_head.", "backbone.fc.")):
                renamed[key.replace("backbone.stem.", "backbone.conv1.")] = value
        return renamed

    @classmethod
    def from_state(cls, state: State, variant: str) -> MmsegFcn:
        deep = "backbone.conv1.0.weight" in state
        stem = [f"backbone.conv1.{index}.weight" for index in (0, 3, 6)] if deep else ["backbone.conv1.weight"]
        plan = ResNetPlan.from_state(state, stem, [f"backbone.{layer}" for layer in LAYERS])
        classes, channels = state["decode_head.conv_seg.weight"].shape[:2]
        convs = next(n for n in range(len(state)) if f"decode_head.convs.{n}.conv.weight" not in state)
        kernel = state["decode_head.convs.0.conv.weight"].shape[-1] if convs else 3
        concat = "decode_head.conv_cat.conv.weight" in state
        return cls(variant, plan, classes, channels, convs, kernel, concat)

    def scores(self, x: Tensor) -> Tensor:
        return self.decode_head(self.backbone(x))

    def decide_above(self, probability: float) -> None:
        bias = self.decode_head.conv_seg.bias
        with torch.no_grad():
            bias[1] -= math.log(probability / (1 - probability))

    @property
    def assumed(self) -> str:
        structure = self.structure_of(self.variant, {})
        corners = "aligned corners" if structure["align_corners"] else "corners not aligned"
        return f"output stride {structure['output_stride']}, {corners}"


def _of_fcn_head(key: str) -> bool:
    return key.startswith(("decode_head.convs.", "decode_head.conv_cat.", "decode_head.conv_seg."))
