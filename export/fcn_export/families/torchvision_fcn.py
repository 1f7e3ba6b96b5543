"""torchvision's fcn_resnet50 and 101 (models/segmentation/fcn.py), and ResNet-18/34 forks of the same layout."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fcnrt.contract.tail import Tail

from .base import IMAGENET, Fcn, State
from .conv_head import conv_head
from .resnet import LAYERS, ResNetPlan, resnet_layers

RESNET50 = ResNetPlan.standard((3, 4, 6, 3), bottleneck=True)


class TorchvisionFcn(Fcn):
    """Dilated ResNet of output stride 8 (ResNet-18/34: stride 32, as BasicBlock has no dilation) and a conv head.

    The keys do not tell the dilation, so networks of other strides are variants of their own.
    """

    family = "torchvision"
    source = "pytorch/vision"
    variants = ("fcn", "fcn-stride16", "fcn-stride32")
    anchors = (("classifier.4.weight", "classifier.0.weight", "backbone.conv1.weight"),)
    contracts = (IMAGENET,)
    tail = Tail("half_pixel")

    def __init__(self, variant: str = "fcn", plan: ResNetPlan = RESNET50, hidden: int = 512, classes: int = 21):
        super().__init__()
        self.variant, self.classes = variant, classes
        self.output_stride = _output_stride(variant, plan.bottleneck)
        self.can_dilate = plan.bottleneck
        self.backbone = nn.Sequential()
        for name, layer in resnet_layers(plan, self.output_stride).items():
            self.backbone.add_module(name, layer)
        self.classifier = conv_head(plan.stages[-1].out, hidden, classes)

    @classmethod
    def canonical(cls, state: State) -> State:
        dead = ("aux_classifier.", "backbone.fc.")
        return {key: value for key, value in state.items() if not key.startswith(dead)}

    @classmethod
    def variants_of(cls, state: State) -> tuple[str, ...]:
        return cls.variants if _has_bottlenecks(state) else ("fcn",)

    @classmethod
    def structure_of(cls, variant: str, state: State) -> dict[str, Any]:
        return {"output_stride": _output_stride(variant, _has_bottlenecks(state))}

    @classmethod
    def usual_among(cls, variants: tuple[str, ...]) -> str | None:
        return variants[0]

    @classmethod
    def from_state(cls, state: State, variant: str) -> TorchvisionFcn:
        plan = ResNetPlan.from_state(state, ["backbone.conv1.weight"], [f"backbone.{layer}" for layer in LAYERS])
        return cls(variant, plan, state["classifier.0.weight"].shape[0], state["classifier.4.weight"].shape[0])

    def scores(self, x: Tensor) -> Tensor:
        return self.classifier(self.backbone(x))

    @property
    def assumed(self) -> str:
        if not self.can_dilate:
            return ""
        return f"output stride {self.output_stride}" + (
            ", as published; --output-stride 16 or 32 to say otherwise" if self.variant == "fcn" else ", as stated"
        )


def _has_bottlenecks(state: State) -> bool:
    return "backbone.layer1.0.conv3.weight" in state


def _output_stride(variant: str, bottleneck: bool) -> int:
    """The stride that a variant names, or the published one: BasicBlock cannot be dilated."""
    named = variant.removeprefix("fcn").removeprefix("-stride")
    return int(named) if named else 8 if bottleneck else 32
