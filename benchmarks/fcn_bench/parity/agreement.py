"""How far a model's labels are from the reference's, counted frame by frame, and whether that is near enough."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcnrt.contract.certificate import points_lost
from fcnrt.contract.types import LabelArray

from ..metrics import MEAN_IOU, ConfusionMatrix, Scores
from .torch_reference import Preference

# Leads of the reference's class over its second, in logits: e^0.01, e^0.1 and e times as likely. Rounding moves borders
# between classes, where the lead is next to nothing; it takes a mistake to turn a label that led by a whole logit.
MARGINS = (0.01, 0.1, 1.0)
CLEAR = MARGINS[-1]


class Agreement:
    """Counts the labels that equal the reference's, and how clear its choice was where they do not.

    Attributes:
        pixels: all that were compared, annotated or not.
        differing: those with another label.
        beyond: for each of `MARGINS`, those of them where the reference's class led by more.
    """

    def __init__(self) -> None:
        self.pixels = self.differing = 0
        self.beyond = dict.fromkeys(MARGINS, 0)

    def update(self, labels_hw: LabelArray, preference: Preference) -> float:
        """Count one frame.

        Returns:
            The share of its pixels that differ.

        Raises:
            ValueError: the labels have another size than the reference's.
        """
        expected = preference.labels_hw
        if labels_hw.shape != expected.shape:
            raise ValueError(f"labels: expected shape {expected.shape} of the frame, got {labels_hw.shape}")
        margins = preference.margins_hw[labels_hw != expected]
        self.pixels += expected.size
        self.differing += margins.size
        for margin in MARGINS:
            self.beyond[margin] += int((margins > margin).sum())
        return margins.size / expected.size

    @property
    def equal_share(self) -> float:
        """Share of all pixels; NaN when nothing was compared."""
        return (self.pixels - self.differing) / self.pixels if self.pixels else math.nan

    @property
    def clear_flips(self) -> float:
        """Share of all pixels that differ although the reference's class led by more than `CLEAR`; NaN for none."""
        return self.beyond[CLEAR] / self.pixels if self.pixels else math.nan

    def as_json(self) -> dict[str, Any]:
        """All counts and shares; `beyond` are shares of the differing pixels."""
        shares = {f"{margin:g}": count / max(1, self.differing) for margin, count in self.beyond.items()}
        counts = {"pixels": self.pixels, "differing": self.differing}
        return {**counts, "equal_share": self.equal_share, "clear_flips": self.clear_flips, "beyond": shares}


@dataclass(frozen=True)
class Limits:
    """What is near enough.

    Attributes:
        metric: name in metrics.MEAN_IOU.
        max_miou_drop: points of mean IoU below the reference's.
        min_agreement: share of equal labels.
        max_clear_flips: share of labels that differ although the reference's choice was clear.
    """

    metric: str = "present"
    max_miou_drop: float = 0.1
    min_agreement: float = 0.999
    max_clear_flips: float = 1e-4


def shortfalls(agreement: Agreement, scores: Scores | None, reference: Scores | None, limits: Limits) -> Iterator[str]:
    """What is not near enough, a line each; a figure that is not a number never is.

    Args:
        scores, reference: of the model and of the reference; None where nothing is annotated.
    """
    if scores is not None and reference is not None:
        before, after = (MEAN_IOU[limits.metric](figures) for figures in (reference, scores))
        lost = points_lost(before, after)
        if not lost <= limits.max_miou_drop:
            yield (
                f"mIoU {100 * after:.4f}, {lost:g} points below the reference's {100 * before:.4f} "
                f"(allowed: {limits.max_miou_drop:g})"
                if math.isfinite(lost)
                else f"mIoU by `{limits.metric}` is not a number: {_why_not(reference)}"
            )
    if not agreement.equal_share >= limits.min_agreement:
        yield f"{agreement.equal_share:.6%} of the labels equal the reference's (wanted: {limits.min_agreement:.6g})"
    if not agreement.clear_flips <= limits.max_clear_flips:
        yield (
            f"{agreement.clear_flips:.6%} of the labels differ where the reference's class led by more than {CLEAR:g} "
            f"(allowed: {limits.max_clear_flips:g})"
        )


def frame_miou(labels_hw: LabelArray, truth_hw: LabelArray, classes: int) -> float:
    """Mean IoU of one frame over the classes in it; NaN where none of it is annotated."""
    matrix = ConfusionMatrix(classes)
    matrix.update(labels_hw, truth_hw)
    return matrix.mean_iou()


def figures(scores: Scores) -> dict[str, Any]:
    """Every figure of merit as JSON values, shares from 0 to 1; NaN where a figure is not defined."""
    matrix = scores.matrix
    return {
        "mean_iou": {name: mean(scores) for name, mean in MEAN_IOU.items()},
        "class_iou": matrix.iou().tolist(),
        "pixel_accuracy": matrix.pixel_accuracy(),
        "mean_accuracy": matrix.mean_accuracy(),
        "frequency_weighted_iou": matrix.frequency_weighted_iou(),
        "annotated_pixels": int(np.sum(matrix.counts)),
    }


def _why_not(reference: Scores) -> str:
    return "a class is absent from the data" if reference.matrix.counts.any() else "no pixel of the data is annotated"
