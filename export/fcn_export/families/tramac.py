"""Tramac/awesome-semantic-segmentation-pytorch: core/models/fcn.py (VGG16) and fcnv2.py (dilated ResNet v1s)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from fcnrt.contract.tail import Tail

from .base import IMAGENET, Fcn, ScoreConv, State
from .conv_head import conv_head
from .resnet import LAYERS, ResNetPlan, resnet_layers
from .vgg import VGG16, Plan, last_width, pooled, read_plan, vgg_features

CLASSES = {21: "voc", 19: "cityscapes", 150: "ade20k"}
# The upstream registers slices of `pretrained` again as pool3, pool4, pool5: first index of each slice in `pretrained`.
ALIASES: Mapping[str, Mapping[str, int]] = {
    "fcn32s": {},
    "fcn16s": {"pool4": 0, "pool5": 24},
    "fcn8s": {"pool3": 0, "pool4": 17, "pool5": 24},
}


class Head(nn.Module):
    """A conv head under the upstream's key `block`."""

    def __init__(self, in_channels: int, hidden: int, classes: int):
        super().__init__()
        self.block = conv_head(in_channels, hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


def _without(state: State, *dead: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(dead)}


def _upsample_to(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


class TramacVggFcn(Fcn):
    """VGG16 without padding tricks; skips are added after align-corners upsampling."""

    family = "tramac"
    source = "Tramac/awesome-semantic-segmentation-pytorch"
    variants = ("fcn32s", "fcn16s", "fcn8s")
    anchors = (("head.block.0.weight", "pretrained.0.weight"), ("head.block.0.weight", "features.0.weight"))
    contracts = (IMAGENET,)
    default_classes = CLASSES
    min_size = 32
    tail = Tail("align_corners")

    def __init__(self, variant: str, plan: Plan = VGG16, hidden: int = 128, classes: int = 21):
        super().__init__()
        self.variant, self.classes = variant, classes
        self.pretrained = vgg_features(plan)
        self.head = Head(last_width(plan, 5), hidden, classes)
        if variant in ("fcn16s", "fcn8s"):
            self.score_pool4 = ScoreConv(last_width(plan, 4), classes)
        if variant == "fcn8s":
            self.score_pool3 = ScoreConv(last_width(plan, 3), classes)

    @classmethod
    def variants_of(cls, state: State) -> tuple[str, ...]:
        if "score_pool3.weight" in state:
            return ("fcn8s",)
        return ("fcn16s",) if "score_pool4.weight" in state else ("fcn32s",)

    @classmethod
    def canonical(cls, state: State) -> State:
        aliases = ALIASES[cls.variants_of(state)[0]]
        # the first public revision said `features` for `pretrained`
        plain = {key.replace("features.", "pretrained.", 1) if key.startswith("features.") else key: value
                 for key, value in _without(state, "auxlayer.", "pool3.", "pool4.", "pool5.").items()}  # fmt: skip
        for key, value in state.items():
            block, _, rest = key.partition(".")
            if block in aliases:  # forward runs these, so they win where the two disagree
                index, _, name = rest.partition(".")
                plain[f"pretrained.{int(index) + aliases[block]}.{name}"] = value
        return plain

    @classmethod
    def from_state(cls, state: State, variant: str) -> TramacVggFcn:
        hidden, classes = (state[f"head.block.{index}.weight"].shape[0] for index in (0, 4))
        plan = read_plan(state, "pretrained")
        if [entry == "M" for entry in plan] != [entry == "M" for entry in VGG16]:
            raise ValueError("its body is no VGG16, the only one that upstream has")
        return cls(variant, plan, hidden, classes)

    def scores(self, x: Tensor) -> Tensor:
        pool3, pool4, pool5 = pooled(self.pretrained, x)[2:]
        scores = self.head(pool5)
        if self.variant in ("fcn16s", "fcn8s"):
            skip = self.score_pool4(pool4)
            scores = _upsample_to(scores, skip) + skip
        if self.variant == "fcn8s":
            skip = self.score_pool3(pool3)
            scores = _upsample_to(scores, skip) + skip
        return scores


RESNET50_V1S = ResNetPlan.standard((3, 4, 6, 3), bottleneck=True, stem=(64, 64, 128))


class TramacResNetFcn(Fcn):
    """Dilated ResNet v1s (deep stem) and a conv head."""

    family = "tramac-resnet"
    source = "Tramac/awesome-semantic-segmentation-pytorch"
    variants = ("fcn",)
    # as Tramac names the head, and as PyTorch-Encoding and FastFCN do, from whose networks it was taken
    anchors = (
        ("head.block.0.weight", "pretrained.conv1.0.weight"),
        ("head.conv5.0.weight", "pretrained.conv1.0.weight"),
        ("head.conv5.0.weight", "pretrained.conv1.weight"),
    )
    contracts = (IMAGENET,)
    default_classes = CLASSES
    tail = Tail("align_corners")

    def __init__(self, variant: str = "fcn", plan: ResNetPlan = RESNET50_V1S, hidden: int = 512, classes: int = 21):
        super().__init__()
        self.variant, self.classes = variant, classes
        self.pretrained = nn.Sequential()
        for name, layer in resnet_layers(plan, output_stride=8).items():
            self.pretrained.add_module(name, layer)
        self.head = Head(plan.stages[-1].out, hidden, classes)

    @classmethod
    def canonical(cls, state: State) -> State:
        kept = _without(state, "auxlayer.", "pretrained.fc.")
        return {key.replace("head.conv5.", "head.block."): value for key, value in kept.items()}

    @classmethod
    def from_state(cls, state: State, variant: str) -> TramacResNetFcn:
        deep = "pretrained.conv1.0.weight" in state
        stem = [f"pretrained.conv1.{index}.weight" for index in (0, 3, 6)] if deep else ["pretrained.conv1.weight"]
        plan = ResNetPlan.from_state(state, stem, [f"pretrained.{layer}" for layer in LAYERS])
        hidden, classes = (state[f"head.block.{index}.weight"].shape[0] for index in (0, 4))
        return cls(variant, plan, hidden, classes)

    def scores(self, x: Tensor) -> Tensor:
        return self.head(self.pretrained(x))
