"""The FCN of 'Dive into Deep Learning' (chapter_computer-vision/fcn): ResNet-18 and one transposed convolution."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor

from fcnrt.contract.tail import Tail

from .base import IMAGENET, IMAGENET_MEAN, IMAGENET_STD, Fcn, InputContract, ScoreConv, ScoreDeconv, State
from .resnet import ResNetPlan, resnet_layers

RESNET18 = ResNetPlan.standard((2, 2, 2, 2), bottleneck=False)
STAGES = ("4", "5", "6", "7")  # nn.Sequential(*resnet18.children()[:-2]): conv1, bn1, relu, maxpool, layer1...4
POSITIONAL = {"8.": "final_conv.", "9.": "transpose_conv."}


class D2lFcn(Fcn):
    """Copies of the chapter with and without division by 255 circulate, so the weights do not tell the input scale."""

    family = "d2l"
    source = "d2l-ai/d2l-en"
    variants = ("fcn32s",)
    anchors = (
        ("transpose_conv.weight", "0.weight", "4.0.conv1.weight"),
        ("9.weight", "8.weight", "0.weight", "4.0.conv1.weight"),
    )
    contracts = (IMAGENET, InputContract("rgb", 1.0, IMAGENET_MEAN, IMAGENET_STD))
    tail = Tail("deconv", 32, 16)

    def __init__(
        self, variant: str = "fcn32s", plan: ResNetPlan = RESNET18, classes: int = 21, middle: int | None = None
    ):
        super().__init__()
        self.variant, self.classes = variant, classes
        for index, layer in enumerate(resnet_layers(plan, output_stride=32).values()):
            self.add_module(str(index), layer)
        middle = middle or classes  # some copies put more channels than classes before the transposed convolution
        self.final_conv = ScoreConv(plan.stages[-1].out, middle)
        self.transpose_conv = ScoreDeconv(middle, classes, 64, stride=32, padding=16)

    @classmethod
    def matches(cls, state: State) -> bool:
        if not super().matches(state):
            return False
        deconv = cls.canonical(state).get("transpose_conv.weight")
        return deconv is not None and deconv.shape[-2:] == (64, 64)

    @classmethod
    def canonical(cls, state: State) -> State:
        renamed = OrderedDict()
        for key, value in state.items():
            prefix = next((old for old in POSITIONAL if key.startswith(old)), "")
            renamed[POSITIONAL.get(prefix, "") + key[len(prefix) :]] = value
        return renamed

    @classmethod
    def from_state(cls, state: State, variant: str) -> D2lFcn:
        plan = ResNetPlan.from_state(state, ["0.weight"], STAGES)
        middle, classes = state["transpose_conv.weight"].shape[:2]
        return cls(variant, plan, classes, middle)

    def scores(self, x: Tensor) -> Tensor:
        for index in range(8):
            x = self.get_submodule(str(index))(x)
        return self.final_conv(x)

    @property
    def last_deconv(self) -> ScoreDeconv:
        return self.transpose_conv

    def upsample(self, scores: Tensor, height: int, width: int) -> Tensor:
        return self.transpose_conv(scores)[:, :, :height, :width]
