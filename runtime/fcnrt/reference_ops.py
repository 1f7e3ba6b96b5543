"""Normalise, upsample, argmax and softmax in numpy, written to be read: the definition of correct.

Everything is computed in float64 and nothing is fast. Every other implementation is tested against this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .spec import Tail

Array: TypeAlias = npt.NDArray[Any]


def normalise(
    frames_nhwc: Array,
    *,
    swap_channels: bool = False,
    scale: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> Array:
    """Turn camera frames into the network's input, (frames * scale - mean) / std.

    Args:
        frames_nhwc: uint8 (N, H, W, 3).
        swap_channels: reverse the colour order (RGB to BGR or back) before anything else.
        scale: factor on the raw values, 1/255 for networks that want [0, 1].
        mean: subtracted after scaling, one value per channel in the network's colour order.
        std: divided by at the end, in the same order.

    Returns:
        float64 (N, 3, H, W).
    """
    frames = frames_nhwc[..., ::-1] if swap_channels else frames_nhwc
    normalised: Array = (frames * np.float64(scale) - np.asarray(mean)) / np.asarray(std)
    return np.moveaxis(normalised, -1, 1)  # (N, 3, H, W)


def source_coordinates(tail: Tail, samples: int, pixels: int) -> Array:
    """Where each output pixel lies on the grid of scores, along one axis.

    Args:
        tail: the geometry, any kind but ``none``; its formulas stand in the docstring of Tail.
        samples: length of the axis of `scores` (h or w).
        pixels: length of the same axis of the labels (H or W).

    Returns:
        float64 (pixels,), evenly spaced; values outside [0, samples - 1] lie beyond the border.

    Raises:
        ValueError: the tail has no upsampling.
    """
    pixel = np.arange(pixels)
    if tail.kind == "half_pixel":
        return (pixel + 0.5) * samples / pixels - 0.5
    if tail.kind == "align_corners":
        return pixel * (samples - 1) / max(pixels - 1, 1)
    if tail.kind == "deconv":
        return (pixel + tail.offset + 0.5) / tail.stride - 1.0
    raise ValueError(
        f"tail: expected half_pixel, align_corners or deconv, got {tail.kind!r}; "
        "its scores are full size, take their argmax"
    )


def upsample(scores_nchw: Array, height: int, width: int, tail: Tail) -> Array:
    """Enlarge scores to full-size logits by separable bilinear interpolation.

    Args:
        scores_nchw: float (N, C, h, w).
        height: rows of the result.
        width: columns of the result.
        tail: the geometry. Samples beyond the border repeat the border's. A real transposed convolution
            fades to zero there instead, which scales all classes alike: values differ, labels do not
            (Long, Shelhamer and Darrell 2015 for the network, model files' `tail` for the geometry).

    Returns:
        float64 (N, C, height, width); cut out of the scores where `tail.kind` is ``none``.
    """
    scores = np.asarray(scores_nchw, np.float64)
    if tail.kind == "none":
        rows, cols = (slice(tail.offset, tail.offset + size) for size in (height, width))
        return scores[:, :, rows, cols]
    stretched = _interpolate(scores, source_coordinates(tail, scores.shape[2], height), axis=2)
    return _interpolate(stretched, source_coordinates(tail, scores.shape[3], width), axis=3)


def argmax(logits_nchw: Array) -> Array:
    """Name the class with the largest logit in every pixel; on ties the lowest index.

    Args:
        logits_nchw: real (N, C, H, W), free of NaN.

    Returns:
        (N, H, W) in `label_dtype(C)`.
    """
    winners: Array = np.argmax(logits_nchw, axis=1)  # (N, H, W)
    return winners.astype(label_dtype(logits_nchw.shape[1]))


def softmax(logits_nchw: Array) -> Array:
    """Turn logits into probabilities over the classes.

    Args:
        logits_nchw: real (N, C, H, W), of any finite size: the largest is subtracted before exponentiation.

    Returns:
        float64 (N, C, H, W), summing to 1 along axis 1.
    """
    logits = np.asarray(logits_nchw, np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def label_dtype(classes: int) -> type[np.uint8] | type[np.uint16]:
    """Return the dtype of labels: uint8 up to 256 classes, uint16 beyond."""
    return np.uint8 if classes <= 256 else np.uint16


def _interpolate(scores: Array, coordinates: Array, axis: int) -> Array:
    """Sample `scores` linearly along one axis, clamping to the border."""
    last = scores.shape[axis] - 1
    inside = np.clip(coordinates, 0, last)
    low = np.floor(inside).astype(np.intp)
    high = np.minimum(low + 1, last)
    weight = np.expand_dims(inside - low, tuple(range(1, scores.ndim - axis)))
    between: Array = scores.take(low, axis) * (1 - weight) + scores.take(high, axis) * weight
    return between
