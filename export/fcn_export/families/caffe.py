"""Caffe-style FCN on VGG16: torchfcn/models/fcn{32,16,8}s.py of wkentaro/pytorch-fcn, after Long et al. 2015."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from fcnrt.contract.tail import Tail

from .base import Fcn, InputContract, ScoreConv, ScoreDeconv, State, bilinear_deconv, crop_like

CONVS = (2, 2, 3, 3, 3)  # VGG16: convolutions per stage
TAILS = {
    "fcn32s": Tail("deconv", 32, 19),
    "fcn16s": Tail("deconv", 16, 27),
    "fcn8s": Tail("deconv", 8, 31),
    "fcn8s-atonce": Tail("deconv", 8, 31),
}
LAST_UPSCORE = {"fcn32s": "upscore", "fcn16s": "upscore16", "fcn8s": "upscore8", "fcn8s-atonce": "upscore8"}
POOL4_OFFSET, POOL3_OFFSET = 5, 9


class CaffeFcn(Fcn):
    """Padding 100 makes every size legal; fc6 and fc7 are convolutions; the upsampling deconvolutions are fixed."""

    family = "caffe"
    source = "wkentaro/pytorch-fcn"
    variants = tuple(TAILS)
    anchors = (("fc6.weight", "conv1_1.weight", "score_fr.weight"),)
    contracts = (InputContract("bgr", 1.0, (104.00698793, 116.66876762, 122.67891434)),)
    homogeneous = True
    # the factors that pool4 and pool3 are scaled by before they are scored
    skip_scales: ClassVar = {"fcn8s-atonce": (0.01, 0.0001)}

    def __init__(
        self, variant: str, widths: Sequence[int] = (64, 128, 256, 512, 512), fc: int = 4096, classes: int = 21
    ):
        super().__init__()
        self.variant, self.classes, self.tail = variant, classes, TAILS[variant]
        channels = 3
        for stage, (count, width) in enumerate(zip(CONVS, widths, strict=True), start=1):
            for index in range(1, count + 1):
                padding = 100 if (stage, index) == (1, 1) else 1
                self.add_module(f"conv{stage}_{index}", nn.Conv2d(channels, width, 3, padding=padding))
                channels = width
        self.fc6 = nn.Conv2d(channels, fc, 7)
        self.fc7 = nn.Conv2d(fc, fc, 1)
        self.score_fr = ScoreConv(fc, classes)
        self._add_skips(widths, classes)
        self.add_module(LAST_UPSCORE[variant], bilinear_deconv(classes, self.tail.stride))

    def _add_skips(self, widths: Sequence[int], classes: int) -> None:
        pool4_scale, pool3_scale = self.skip_scales.get(self.variant, (1.0, 1.0))
        if self.tail.stride <= 16:
            self.score_pool4 = ScoreConv(widths[3], classes, pool4_scale)
            self.upscore2 = bilinear_deconv(classes, 2)
        if self.tail.stride == 8:
            self.score_pool3 = ScoreConv(widths[2], classes, pool3_scale)
            self.upscore_pool4 = bilinear_deconv(classes, 2)

    @classmethod
    def matches(cls, state: State) -> bool:
        return super().matches(state) and bool(cls.variants_of(state))

    @classmethod
    def variants_of(cls, state: State) -> tuple[str, ...]:
        return tuple(variant for variant in cls.variants if f"{LAST_UPSCORE[variant]}.weight" in state)

    @classmethod
    def from_state(cls, state: State, variant: str) -> CaffeFcn:
        widths = [state[f"conv{stage}_1.weight"].shape[0] for stage in range(1, 6)]
        return cls(variant, widths, state["fc6.weight"].shape[0], state["score_fr.weight"].shape[0])

    def scores(self, x: Tensor) -> Tensor:
        pool3, pool4, pool5 = self._pools(x)[2:]
        scores = self.score_fr(F.relu(self.fc7(F.relu(self.fc6(pool5)))))
        if self.tail.stride <= 16:
            scores = self.upscore2(scores)
            scores = scores + crop_like(self.score_pool4(pool4), POOL4_OFFSET, scores)
        if self.tail.stride == 8:
            scores = self.upscore_pool4(scores)
            scores = scores + crop_like(self.score_pool3(pool3), POOL3_OFFSET, scores)
        return scores

    def _pools(self, x: Tensor) -> list[Tensor]:
        pools = []
        for stage, count in enumerate(CONVS, start=1):
            for index in range(1, count + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{index}")(x))
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            pools.append(x)
        return pools

    @property
    def last_deconv(self) -> ScoreDeconv:
        return getattr(self, LAST_UPSCORE[self.variant])

    def upsample(self, scores: Tensor, height: int, width: int) -> Tensor:
        offset = self.tail.offset
        return self.last_deconv(scores)[:, :, offset : offset + height, offset : offset + width]
