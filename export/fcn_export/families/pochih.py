"""pochih/FCN-pytorch: python/fcn.py, VGG11 to VGG19 under five learned transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from fcnrt.contract.tail import Tail

from .base import IMAGENET_MEAN, IMAGENET_STD, Fcn, InputContract, ScoreConv, State
from .vgg import VGG16, Plan, last_width, pooled, read_plan, vgg_features

OWN_CLASSES = (20, 32)  # of upstream's Cityscapes and CamVid loaders


class VggNet(nn.Module):
    """A VGG body under the upstream's key `features`."""

    def __init__(self, plan: Plan):
        super().__init__()
        self.features = vgg_features(plan)


class PochihFcn(Fcn):
    """All four variants have the same keys and shapes; they differ in which pools are added, and where."""

    family = "pochih"
    source = "pochih/FCN-pytorch"
    variants = ("fcn32s", "fcn16s", "fcn8s", "fcns")
    anchors = (("deconv5.weight", "pretrained_net.features.0.weight", "classifier.weight"),)
    # upstream's own; and that of its best-known fork for two classes, which feeds BGR to statistics of RGB
    contracts = (
        InputContract("bgr", 1 / 255, (103.939 / 255, 116.779 / 255, 123.68 / 255)),
        InputContract("bgr", 1 / 255, IMAGENET_MEAN, IMAGENET_STD),
    )
    default_classes = {20: "cityscapes-unlabelled-first"}
    multiple = 32
    tail = Tail("none")

    def __init__(
        self, variant: str, plan: Plan = VGG16, widths: Sequence[int] = (512, 256, 128, 64, 32), classes: int = 20
    ):
        super().__init__()
        self.variant, self.classes = variant, classes
        self.pretrained_net = VggNet(plan)
        channels = last_width(plan, 5)
        for index, width in enumerate(widths, start=1):
            deconv = nn.ConvTranspose2d(channels, width, 3, stride=2, padding=1, output_padding=1)
            self.add_module(f"deconv{index}", deconv)
            self.add_module(f"bn{index}", nn.BatchNorm2d(width))
            channels = width
        self.classifier = ScoreConv(channels, classes)

    @classmethod
    def published_contracts(cls, classes: int | None) -> tuple[InputContract, ...]:
        return cls.contracts[:1] if classes in OWN_CLASSES else cls.contracts

    @classmethod
    def canonical(cls, state: State) -> State:
        return {key: value for key, value in state.items() if not key.startswith("pretrained_net.classifier.")}

    @classmethod
    def from_state(cls, state: State, variant: str) -> PochihFcn:
        widths = [state[f"deconv{index}.weight"].shape[1] for index in range(1, 6)]
        plan = read_plan(state, "pretrained_net.features")
        return cls(variant, plan, widths, state["classifier.weight"].shape[0])

    def scores(self, x: Tensor) -> Tensor:
        pools = pooled(self.pretrained_net.features, x)
        x = pools.pop()
        skips = {"fcn32s": 0, "fcn16s": 1, "fcn8s": 2, "fcns": 4}[self.variant]
        for index in range(1, 6):
            x = F.relu(self.get_submodule(f"deconv{index}")(x))
            norm = self.get_submodule(f"bn{index}")
            if index > skips:
                x = norm(x)
            elif self.variant == "fcns":
                x = norm(x) + pools[-index]
            else:
                x = norm(x + pools[-index])
        return self.classifier(x)

    def upsample(self, scores: Tensor, height: int, width: int) -> Tensor:
        return scores[:, :, :height, :width]
