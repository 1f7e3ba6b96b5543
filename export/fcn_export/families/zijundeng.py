"""zijundeng/pytorch-semantic-segmentation: models/fcn{32,16,8}s.py, the Caffe-style network under other names; and
yassouali/pytorch-segmentation: models/fcn.py, its FCN8 under others again.

It always scales pool4 and pool3, and it trains its deconvolutions.
"""

from __future__ import annotations

from typing import ClassVar

from .base import IMAGENET, InputContract, State
from .caffe import CONVS, CaffeFcn

# Slices of VGG16's features, renumbered from 0: first index of each slice.
SLICES = {
    "fcn32s": {"features5": 0},
    "fcn16s": {"features4": 0, "features5": 24},
    "fcn8s": {"features3": 0, "features4": 17, "features5": 24},
}
FEATURE_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of VGG16's convolutions
CONV_NAMES = [f"conv{stage}_{index}" for stage, count in enumerate(CONVS, start=1) for index in range(1, count + 1)]
NAMES = dict(zip(FEATURE_INDICES, CONV_NAMES, strict=True))
SCORE_NAMES = {"score_fr.0": "fc6", "score_fr.3": "fc7", "score_fr.6": "score_fr"}


class ZijundengFcn(CaffeFcn):
    """Trained either on torchvision's VGG (ImageNet normalisation) or on Caffe's; the weights do not tell which."""

    family = "zijundeng"
    source = "zijundeng/pytorch-semantic-segmentation"
    variants = ("fcn32s", "fcn16s", "fcn8s")
    anchors = (("features5.0.weight", "score_fr.0.weight", "score_fr.6.weight"),)
    contracts = (IMAGENET, InputContract("bgr", 1.0, (103.939, 116.779, 123.68)))
    skip_scales: ClassVar = {"fcn16s": (0.01, 1.0), "fcn8s": (0.01, 0.0001)}

    @classmethod
    def canonical(cls, state: State) -> State:
        slices = SLICES[cls.variants_of(state)[0]]
        return {_caffe_key(key, slices): value for key, value in state.items()}


class YassoualiFcn(ZijundengFcn):
    """The same network under other names; each data set has its own mean and std there, so they are asked for."""

    family = "yassouali"
    source = "yassouali/pytorch-segmentation"
    variants = ("fcn8s",)
    anchors = (("up_final.weight", "output.6.weight", "pool5.0.weight", "adj_pool3.weight"),)
    contracts = (IMAGENET,)

    @classmethod
    def published_contracts(cls, classes: int | None) -> tuple[InputContract, ...]:
        return ()

    @classmethod
    def variants_of(cls, state: State) -> tuple[str, ...]:
        return cls.variants

    @classmethod
    def canonical(cls, state: State) -> State:
        return super().canonical({_zijundeng_key(key): value for key, value in state.items()})


YASSOUALI_NAMES = {
    "pool3": "features3", "pool4": "features4", "pool5": "features5", "output": "score_fr",
    "adj_pool3": "score_pool3", "adj_pool4": "score_pool4",
    "up_output": "upscore2", "up_pool4_out": "upscore_pool4", "up_final": "upscore8",
}  # fmt: skip


def _zijundeng_key(key: str) -> str:
    module, dot, rest = key.partition(".")
    return YASSOUALI_NAMES.get(module, module) + dot + rest


def _caffe_key(key: str, slices: dict[str, int]) -> str:
    module, _, name = key.rpartition(".")
    block, _, index = module.partition(".")
    if block in slices and index.isdecimal():
        module = NAMES.get(slices[block] + int(index), module)
    return f"{SCORE_NAMES.get(module, module)}.{name}"
