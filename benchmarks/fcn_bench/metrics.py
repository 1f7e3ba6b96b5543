"""Figures of merit for label maps, under every definition that the sources of FCNs publish theirs by.

The same label maps have several "mean IoU"; a figure can only be compared with one of its own definition. `MEAN_IOU`
holds them by name, `Scores` counts for all of them at once. Read in the sources:

| name      | counted over | an absent class     | source |
|-----------|--------------|---------------------|--------|
| `present` | data set     | left out            | shelhamer/fcn.berkeleyvision.org; wkentaro/pytorch-fcn utils.py |
| `strict`  | data set     | makes the mean NaN  | pytorch/vision references/segmentation/utils.py |
| `all`     | data set     | counts as 0         | Tramac/awesome-semantic-segmentation-pytorch core/utils/score.py |
| `image`   | each image   | left out, per image | pochih/FCN-pytorch python/train.py |

Absent is a class in neither truth nor predictions. Where none is, the first three agree; `image` still differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fcnrt.contract.types import FloatArray, LabelArray

VOID = 255


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

    def accuracy(self) -> FloatArray:
        """Compute the share of each class's true pixels that are right: (classes,) float64; NaN where it has none."""
        return _ratio(np.diagonal(self.counts), self.counts.sum(axis=1))

    def mean_iou(self) -> float:
        """Average `iou()` over the classes that are not absent; NaN when nothing was counted.

        Counted over the data set, not averaged over frames: "mean IU" of Long, Shelhamer and Darrell, "Fully
        Convolutional Networks for Semantic Segmentation" (2015), section 5. A class that is only predicted counts as 0.
        `present` in `MEAN_IOU`: np.nanmean in score.py and label_accuracy_score, and torchmetrics' Jaccard index.
        """
        return _mean_of_numbers(self.iou())

    def mean_iou_strict(self) -> float:
        """Average `iou()` over all classes, NaN where one is absent: torchvision's ConfusionMatrix, `iu.mean()`."""
        return float(self.iou().mean())

    def mean_iou_over_all(self) -> float:
        """Average `iou()` over all classes, absent ones as 0: Tramac's score.py, whose union has 2.2e-16 added."""
        return float(np.nan_to_num(self.iou()).mean()) if self.counts.any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Compute the share of counted pixels that are right, in [0, 1]; NaN when nothing was counted."""
        return float(_ratio(np.trace(self.counts), self.counts.sum()))

    def mean_accuracy(self) -> float:
        """Average `accuracy()` over the classes that the truth holds: "mean acc." of Long et al. (2015)."""
        return _mean_of_numbers(self.accuracy())

    def frequency_weighted_iou(self) -> float:
        """Average `iou()` by each class's share of the true pixels: "f.w. IU" of Long et al. (2015)."""
        frequency = _ratio(self.counts.sum(axis=1), self.counts.sum())
        present = frequency > 0
        return float(frequency[present] @ self.iou()[present]) if present.any() else float("nan")


class ImageMeans:
    """Averages over images of what each image scores on its own, as pochih/FCN-pytorch reports.

    Every image weighs the same and every class in it, however few its pixels: a class missed in one image of ten loses
    a tenth, even if it had one pixel there.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        self._iou_sums, self._images_with_class = np.zeros(classes), np.zeros(classes, dtype=np.int64)
        self._accuracy_sum, self._images = 0.0, 0

    def add(self, image: ConfusionMatrix) -> None:
        """Take in one image's counts; an image without any counted pixel says nothing and is passed over."""
        if not image.counts.any():
            return
        iou = image.iou()
        self._iou_sums += np.nan_to_num(iou)
        self._images_with_class += ~np.isnan(iou)
        self._accuracy_sum += image.pixel_accuracy()
        self._images += 1

    def iou(self) -> FloatArray:
        """Average each class's IoU over the images that have it, in truth or predictions; NaN where none has."""
        return _ratio(self._iou_sums, self._images_with_class)

    def mean_iou(self) -> float:
        """Average `iou()` over the classes that any image has; NaN when nothing was counted."""
        return _mean_of_numbers(self.iou())

    def pixel_accuracy(self) -> float:
        """Average over images of the share of right pixels; NaN when nothing was counted."""
        return self._accuracy_sum / self._images if self._images else float("nan")


class Scores:
    """Everything that `MEAN_IOU` and the other figures need, counted in one pass over a data set.

    Args:
        classes: number of classes.

    Attributes:
        matrix: counts over the data set.
        images: averages over images.
    """

    def __init__(self, classes: int) -> None:
        self.matrix, self.images = ConfusionMatrix(classes), ImageMeans(classes)

    def update(self, labels_hw: LabelArray, truth_hw: LabelArray, void: int = VOID) -> None:
        """Count one image; arguments and errors as of `ConfusionMatrix.update`."""
        image = ConfusionMatrix(len(self.matrix.counts))
        image.update(labels_hw, truth_hw, void)
        self.matrix.counts += image.counts
        self.images.add(image)


MEAN_IOU: Mapping[str, Callable[[Scores], float]] = {
    "present": lambda scores: scores.matrix.mean_iou(),
    "strict": lambda scores: scores.matrix.mean_iou_strict(),
    "all": lambda scores: scores.matrix.mean_iou_over_all(),
    "image": lambda scores: scores.images.mean_iou(),
}


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> FloatArray:
    """Divide; 0 / 0 is NaN, and no warning."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(part, whole)


def _mean_of_numbers(values: FloatArray) -> float:
    """Average of what is not NaN; NaN, and no warning, where all is."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")
