"""What all FCN families have in common: the base class, the input contract, the score layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcnrt.contract.spec import Color
from fcnrt.contract.tail import Tail

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class InputContract:
    """What the network was trained on: x = (frame * scale - mean) / std, frames 0 to 255, channels in `color` order."""

    color: Color
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def in_order(self, color: Color) -> InputContract:
        """The same contract for pictures whose channels come in `color` order."""
        if color == self.color:
            return self
        return InputContract(color, self.scale, self.mean[::-1], self.std[::-1])

    def normalise(self, frames: Tensor, color: Color) -> Tensor:
        """Frames (N, H, W, 3) uint8 in `color` order to what the network was trained on, (N, 3, H, W) float32."""
        x = frames.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
        if color != self.color:
            x = x.flip(1)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (x * self.scale - mean) / std


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET = InputContract("rgb", 1 / 255, IMAGENET_MEAN, IMAGENET_STD)


class ScoreConv(nn.Conv2d):
    """1x1 convolution to class scores. It keeps its own dtype in a half network: scores are sums worth float32."""

    def __init__(self, in_channels: int, classes: int, input_scale: float = 1.0):
        super().__init__(in_channels, classes, 1)
        self.input_scale = input_scale

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        return super().forward(x if self.input_scale == 1 else x * self.input_scale)


class ScoreDeconv(nn.ConvTranspose2d):
    """Transposed convolution over class scores: upsampling, bilinear unless it was trained."""


@dataclass(frozen=True)
class Told:
    """What a file says of its network beside the weights; empty where it says nothing.

    Attributes:
        variant: the variant itself, or
        structure: what `Fcn.structure_of` says of it.
        threshold: the probability that a single class must exceed.
        problem: what it says of the network that the exporter does not know.
        source: who says so, for a report.
    """

    variant: str | None = None
    structure: Mapping[str, Any] = field(default_factory=dict)
    contract: InputContract | None = None
    classes: tuple[str, ...] | None = None
    palette: str | tuple[tuple[int, int, int], ...] | None = None
    threshold: float = 0.5
    problem: str = ""
    source: str = ""


class Fcn(nn.Module, ABC):
    """One family of FCN checkpoints: facts, recognition, layers and forward pass, keys named as upstream names them.

    Class attributes are the facts; constructors default to the upstream's sizes; `from_state` reads them from weights.
    """

    family: ClassVar[str]
    source: ClassVar[str]
    variants: ClassVar[tuple[str, ...]]
    anchors: ClassVar[tuple[tuple[str, ...], ...]]  # the keys that tell the family; sets of them where it has several
    contracts: ClassVar[tuple[InputContract, ...]]  # several where the weights cannot tell
    default_classes: ClassVar[Mapping[int, str]] = {21: "voc"}  # class count -> name of a list in class_names.py
    min_size: ClassVar[int] = 1  # smallest legal height and width
    multiple: ClassVar[int] = 1  # heights and widths are padded to this multiple
    homogeneous: ClassVar[bool] = False  # only conv, ReLU, max-pooling up to the score layers: scales by powers of 2

    variant: str
    classes: int
    tail: Tail
    one_class: bool = False  # trained with one class and a sigmoid; here it has two, the first of which scores 0

    @classmethod
    def matches(cls, state: State) -> bool:
        """Whether the keys and shapes of a state dict are this family's."""
        return any(state.keys() >= set(keys) for keys in cls.anchors)

    @classmethod
    def canonical(cls, state: State) -> State:
        """The state dict with aliases resolved and dead keys dropped: exactly this module's keys."""
        return state

    @classmethod
    def variants_of(cls, state: State) -> tuple[str, ...]:
        """The variants that the keys admit; one where they decide."""
        return cls.variants

    @classmethod
    def published_contracts(cls, classes: int | None) -> tuple[InputContract, ...]:
        """The contracts that a checkpoint of so many classes may have been trained by."""
        return cls.contracts

    @classmethod
    def structure_of(cls, variant: str, state: State) -> dict[str, Any]:
        """What the flags `--output-stride` and `--align-corners` name of a variant, where the family has a choice."""
        return {}

    @classmethod
    def usual_among(cls, variants: tuple[str, ...]) -> str | None:
        """The published one of variants that neither keys nor names tell; None where it must be asked for."""
        return None

    @classmethod
    def question(cls, variants: tuple[str, ...]) -> str:
        """The flags, of which one must be added to choose among variants."""
        return f"--variant {' or --variant '.join(variants)}"

    @classmethod
    def told(cls, meta: Mapping[str, Any]) -> Told:
        """What a trainer's `meta` beside the weights tells."""
        return Told()

    @classmethod
    @abstractmethod
    def from_state(cls, state: State, variant: str) -> Fcn:
        """A module of the widths and class count found in a canonical state dict; weights are not loaded."""

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """Normalised pictures (N, 3, H, W) to the logits before the last upsampling (N, C, h, w)."""

    def upsample(self, scores: Tensor, height: int, width: int) -> Tensor:
        """The upstream's own last step: scores (N, C, h, w) to logits (N, C, height, width)."""
        align = self.tail.kind == "align_corners"
        return F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=align)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures (N, 3, H, W) to full-size logits (N, C, H, W), as upstream computes them."""
        height, width = x.shape[-2:]
        return self.upsample(self.scores(pad_to_multiple(x, self.multiple)), height, width)

    def decide_above(self, probability: float) -> None:
        """Shift the logit of a network of one class, so that 0 stands for this probability."""
        raise NotImplementedError(f"{self.family} has no threshold")

    @property
    def assumed(self) -> str:
        """What the keys do not tell of the structure and was taken as published, with the flag to say otherwise."""
        return ""

    @property
    def last_deconv(self) -> ScoreDeconv | None:
        """The transposed convolution that is the last step, where the family has one."""
        return None


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad x (N, C, H, W) with zeros below and to the right until height and width are multiples."""
    if multiple == 1:
        return x
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))


def bilinear_kernel(size: int) -> Tensor:
    """The (size, size) kernel of bilinear upsampling by size / 2 (Long et al. 2015; torchfcn get_upsampling_weight)."""
    ramp = 1 - (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs() / (size / 2)
    return torch.outer(ramp, ramp).float()


def bilinear_deconv(classes: int, stride: int) -> ScoreDeconv:
    """A dense transposed convolution that upsamples each class on its own, as the Caffe-style networks hold it."""
    deconv = ScoreDeconv(classes, classes, 2 * stride, stride, bias=False)
    with torch.no_grad():
        deconv.weight.copy_(diagonal(bilinear_kernel(2 * stride), classes))
    return deconv


def diagonal(kernel: Tensor, classes: int) -> Tensor:
    """The (classes, classes, k, k) weight that applies one (k, k) kernel to each class on its own."""
    weight = kernel.new_zeros(classes, classes, *kernel.shape)
    weight[range(classes), range(classes)] = kernel
    return weight


def crop_like(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Cut x (N, C, H, W) from (offset, offset) to the height and width of `like`."""
    height, width = like.shape[-2:]
    return x[:, :, offset : offset + height, offset : offset + width]
