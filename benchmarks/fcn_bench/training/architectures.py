"""Every architecture of fcn_export.families that can be trained, and what only training knows of its family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

from torch import Tensor
from torch.nn import functional as F

from fcn_export.families import Fcn, TorchvisionFcn
from fcn_export.families.caffe import CaffeFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.families.pochih import PochihFcn
from fcn_export.families.resnet import LAYERS, ResNetPlan, Stage
from fcn_export.families.tramac import TramacResNetFcn, TramacVggFcn
from fcn_export.families.vgg import VGG_PLANS
from fcn_export.families.zijundeng import NAMES as VGG16_CONVS
from fcn_export.families.zijundeng import ZijundengFcn

RESNETS: Mapping[str, tuple[tuple[int, ...], bool]] = {  # blocks per stage, whether they are bottlenecks
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
DEEP_STEM = (64, 64, 128)
# The demo's: a dilated ResNet of 0.3 million weights.
SLIM = ResNetPlan((16,), (Stage(1, 16, 64), Stage(2, 24, 96), Stage(2, 32, 128), Stage(3, 48, 128)), bottleneck=True)


@dataclass(frozen=True)
class Architecture:
    """A network that can be trained: its name on the command line and how it is made for a number of classes."""

    name: str
    family: type[Fcn]
    make: Callable[[int], Fcn]


@dataclass(frozen=True)
class Auxiliary:
    """A second conv head, which upstream trains and never runs afterwards.

    It is fed by the output of `tap`, as many channels as the last parameter of `trunk` has; `prefix` stands before its
    keys in checkpoints.
    """

    tap: str
    trunk: str
    prefix: str


@dataclass(frozen=True)
class TrainingFacts:
    """What training needs to know of a family and inference does not.

    Attributes:
        classification: prefixes of keys in torchvision's classification weights, and what stands for them here.
        auxiliary: the auxiliary head, where upstream has one.
        dropout: modules whose output is dropped at a rate of one half, and the function that does it. Upstream has it
            after the ReLU that follows; before it is the same, since ReLU keeps zeros and factors.
        fixed_deconvs: whether the transposed convolutions stay bilinear.
        zero_scores: whether the score layers start at zero.
    """

    classification: Mapping[str, str]
    auxiliary: Auxiliary | None = None
    dropout: tuple[str, ...] = ()
    drop: Callable[..., Tensor] = F.dropout
    fixed_deconvs: bool = False
    zero_scores: bool = False


def _renamed_resnet(prefix: str) -> dict[str, str]:
    return {f"{child}.": f"{prefix}{child}." for child in ("conv1", "bn1", *LAYERS)}


_CAFFE_NAMES = {f"features.{index}.": f"{conv}." for index, conv in VGG16_CONVS.items()}
_CAFFE_NAMES |= {"classifier.0.": "fc6.", "classifier.3.": "fc7."}

FACTS: Mapping[type[Fcn], TrainingFacts] = {
    CaffeFcn: TrainingFacts(_CAFFE_NAMES, None, ("fc6", "fc7"), F.dropout2d, fixed_deconvs=True, zero_scores=True),
    ZijundengFcn: TrainingFacts(_CAFFE_NAMES, None, ("fc6", "fc7"), F.dropout, zero_scores=True),
    TramacVggFcn: TrainingFacts(
        {"features.": "pretrained."}, Auxiliary("pretrained.30", "pretrained", "auxlayer.block.")
    ),
    TramacResNetFcn: TrainingFacts(
        _renamed_resnet("pretrained."), Auxiliary("pretrained.layer3", "pretrained.layer3", "auxlayer.block.")
    ),
    PochihFcn: TrainingFacts({"features.": "pretrained_net.features."}),
    TorchvisionFcn: TrainingFacts(
        _renamed_resnet("backbone."), Auxiliary("backbone.layer3", "backbone.layer3", "aux_classifier.")
    ),
    D2lFcn: TrainingFacts(
        {"conv1.": "0.", "bn1.": "1."} | {f"{layer}.": f"{4 + i}." for i, layer in enumerate(LAYERS)}
    ),
}


def _vgg16(family: Callable[..., Fcn], variant: str, classes: int) -> Fcn:
    return family(variant, classes=classes)


def _pochih(variant: str, body: str, classes: int) -> Fcn:
    return PochihFcn(variant, VGG_PLANS[body], classes=classes)


def _torchvision(plan: ResNetPlan, classes: int) -> Fcn:
    return TorchvisionFcn(plan=plan, hidden=plan.stages[-1].out // 4, classes=classes)


def _tramac_resnet(plan: ResNetPlan, classes: int) -> Fcn:
    return TramacResNetFcn(plan=plan, hidden=plan.stages[-1].out // 4, classes=classes)


def slim(classes: int) -> TorchvisionFcn:
    """The demo's network: torchvision's FCN on a dilated ResNet, 0.3 million weights in all."""
    return TorchvisionFcn(plan=SLIM, hidden=64, classes=classes)


def _architectures() -> Iterator[Architecture]:
    """Named `variant-family`, with the body where a family has several."""
    for family in (CaffeFcn, ZijundengFcn, TramacVggFcn, PochihFcn):
        for variant in family.variants:
            yield Architecture(f"{variant}-{family.family}", family, partial(_vgg16, family, variant))
    for body, variant in product(("vgg11", "vgg13", "vgg19"), PochihFcn.variants):
        yield Architecture(f"{variant}-pochih-{body}", PochihFcn, partial(_pochih, variant, body))
    for body, (blocks, bottleneck) in RESNETS.items():
        plan = ResNetPlan.standard(blocks, bottleneck)
        yield Architecture(f"fcn_{body}", TorchvisionFcn, partial(_torchvision, plan))
    for body in ("resnet50", "resnet101"):
        plan = ResNetPlan.standard(RESNETS[body][0], bottleneck=True, stem=DEEP_STEM)
        yield Architecture(f"fcn_{body}-tramac", TramacResNetFcn, partial(_tramac_resnet, plan))
    yield Architecture("fcn32s-resnet18", D2lFcn, lambda classes: D2lFcn(classes=classes))
    yield Architecture("slim", TorchvisionFcn, slim)


ARCHITECTURES: Mapping[str, Architecture] = {entry.name: entry for entry in _architectures()}
