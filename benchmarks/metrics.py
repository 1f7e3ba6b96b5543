"""Figures of merit for label maps, counted over a whole data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

VOID = 255

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[Any]


class ConfusionMatrix:
    """Counts which class was predicted where which one is true, frame by frame.

    Args:
        classes: number of classes.

    Attributes:
        counts: (classes, classes) int64 pixels, indexed by [true class, predicted class].
    """

    def __init__(self, classes: int) -> None:
        if classes < 1:
            raise ValueError(f"classes: expected at least 1, got {classes}")
        self.counts = np.zeros((classes, classes), dtype=np.int64)

    def update(self, labels: LabelArray, truth: LabelArray, void: int = VOID) -> None:
        """Count one frame, or any number of them.

        Args:
            labels: predicted classes, integers of any shape.
            truth: true classes, integers of the same shape. Pixels that are `void`, or no class at all,
                are not counted, whatever was predicted there.
            void: the value in `truth` that means "not annotated".

        Raises:
            ValueError: the shapes differ, or a counted pixel was given a label that is no class: to skip
                it would flatter the figures.
        """
        if labels.shape != truth.shape:
            raise ValueError(f"labels: expected shape {truth.shape} of the truth, got {labels.shape}")
        classes = len(self.counts)
        counted = (truth >= 0) & (truth < classes) & (truth != void)
        predicted = labels[counted].astype(np.int64)
        if predicted.size and not 0 <= predicted.min() <= predicted.max() < classes:
            raise ValueError(f"labels: expected 0..{classes - 1}, got {predicted.min()}..{predicted.max()}")
        pairs = truth[counted].astype(np.int64) * classes + predicted
        self.counts += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    def iou(self) -> FloatArray:
        """Compute intersection over union per class: (classes,) float64 in [0, 1].

        NaN marks an absent class, one that is neither in the truth nor among the predictions.
        """
        hits = np.diagonal(self.counts)
        return _ratio(hits, self.counts.sum(axis=0) + self.counts.sum(axis=1) - hits)

    def mean_iou(self) -> float:
        """Average `iou()` over the classes that are not absent; NaN when nothing was counted.

        Counted over the data set, not averaged over frames: "mean IU" of Long, Shelhamer and Darrell,
        "Fully Convolutional Networks for Semantic Segmentation" (2015), section 5, and what torchvision's
        segmentation reference computes where every class occurs (with an absent one its mean is NaN).
        """
        iou = self.iou()
        return float(iou[~np.isnan(iou)].mean()) if self.counts.any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Compute the share of counted pixels that are right, in [0, 1]; NaN when nothing was counted."""
        return float(_ratio(np.trace(self.counts), self.counts.sum()))


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> FloatArray:
    """Divide; 0 / 0 is NaN, and no warning."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(part, whole)
