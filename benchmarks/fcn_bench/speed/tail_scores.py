"""What the last step is timed on: scores like a trained network's, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fcnrt.contract.tail import Tail
from fcnrt.contract.types import Array

from ..machine import cache_nbytes

CLASSES = 21


@dataclass(frozen=True)
class Case:
    """One row: scores of one shape become labels of one size."""

    kind: str
    stride: int
    height: int
    width: int
    content: str = "scene"

    @property
    def offset(self) -> int:
        """Rows and columns that Caffe's FCN-8s and FCN-32s crop from their deconvolutions."""
        return {8: 31, 32: 19}[self.stride] if self.kind == "deconv" else 0

    @property
    def scores_size(self) -> tuple[int, int]:
        """(h, w) of the scores, with the padding's share where a crop follows."""
        h, w = (-(-(size + 2 * self.offset) // self.stride) for size in (self.height, self.width))
        return h, w

    @property
    def tail(self) -> Tail:
        """As model files have it."""
        return Tail(self.kind, self.stride, self.offset)


def make_scores(case: Case) -> list[Array]:
    """Draw a few scenes and vary them until all scores together exceed the last-level cache."""
    rng = np.random.default_rng(0)
    h, w = case.scores_size
    if case.content == "noise":
        bases = [rng.normal(size=(1, CLASSES, h, w)).astype(np.float32) for _ in range(4)]
    else:
        bases = [draw_scores(rng, h, w) for _ in range(2 if case.kind == "none" else 8)]
    count = max(len(bases), -(-5 * cache_nbytes() // (4 * bases[0].nbytes)))
    return [np.roll(bases[i % len(bases)], i // len(bases), axis=(2, 3)) for i in range(count)]


def draw_scores(rng: np.random.Generator, h: int, w: int) -> Array:
    """Blurred membership in the regions of a scene, plus smooth and rough noise: (1, C, h, w)."""
    rows, cols = 2 * min(h, 180), 2 * min(w, 320)  # full-size scores are drawn coarsely, then repeated
    regions = draw_regions(rng, rows, cols)
    one_hot = regions == np.arange(CLASSES)[:, None, None]
    member = one_hot.reshape(CLASSES, rows // 2, 2, cols // 2, 2).mean(axis=(2, 4))
    scores = 8 * box_blur(member, 1) + 1.5 * box_blur(rng.normal(size=member.shape), 1)
    scores = scores.repeat(-(-h // (rows // 2)), axis=1).repeat(-(-w // (cols // 2)), axis=2)[:, :h, :w]
    return (scores + 0.15 * rng.normal(size=scores.shape)).astype(np.float32)[None]


def draw_regions(rng: np.random.Generator, height: int, width: int) -> Array:
    """Label each point with the class of its nearest centre, distances warped: ragged cells (H, W)."""
    y, x = np.mgrid[:height, :width] + 0.15 * height * box_blur(
        rng.normal(size=(2, height, width)), max(1, height // 20)
    )
    nearest, label = np.full((height, width), np.inf), np.zeros((height, width), np.intp)
    for _ in range(40):
        distance = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width))
        label = np.where(distance < nearest, rng.integers(CLASSES), label)
        nearest = np.minimum(nearest, distance)
    return label


def box_blur(planes: Array, radius: int) -> Array:
    """Average over (2 * radius + 1) squared neighbours, borders repeated."""
    side = (2 * radius + 1,) * 2
    return np.stack([cv2.blur(plane, side, borderType=cv2.BORDER_REPLICATE) for plane in planes])
