"""How much of a picture each class covers, and how sure the network is of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..contract.types import Array, UInt8Array

Shares = npt.NDArray[np.float64]


def class_shares(labels_hw: Array, classes: int) -> Shares:
    """The share of the picture that each class covers.

    Args:
        labels_hw: (H, W) uint8 or uint16.
        classes: how many there are; labels from there up are void, and left out.

    Returns:
        (classes,) float64, which add up to 1; all 0 where everything is void.
    """
    counts = _counts(labels_hw, classes)
    shares: Shares = counts / max(1, counts.sum())
    return shares


def class_confidence(labels_hw: Array, confidence_hw: UInt8Array, classes: int) -> Shares:
    """The mean probability of each class's labels.

    Args:
        labels_hw: (H, W) uint8 or uint16.
        confidence_hw: (H, W) uint8, 255 for 1.
        classes: how many there are.

    Returns:
        (classes,) float64 from 0 to 1; NaN for a class without a pixel.
    """
    counts = _counts(labels_hw, classes)
    sums = np.bincount(labels_hw.reshape(-1), confidence_hw.reshape(-1), minlength=classes)[:classes]
    means: Shares = np.divide(sums, 255 * counts, out=np.full(classes, np.nan), where=counts > 0)
    return means


def _counts(labels_hw: Array, classes: int) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.bincount(labels_hw.reshape(-1), minlength=classes)[:classes]
    return counts
