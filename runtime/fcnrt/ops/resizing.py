"""Resizing frames on the CPU: by Pillow, which always averages, and by OpenCV or numpy, which never do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import needs

Frames = npt.NDArray[np.uint8]


def resized(frames_nhwc: Frames, size: tuple[int, int], antialias: bool) -> Frames:
    """Frames of another size; ops.reference.resize but for a rounding by 1.

    Args:
        frames_nhwc: uint8 (N, H, W, 3).
        size: (height, width) of the result.
        antialias: average over what a pixel covers when reducing.

    Returns:
        uint8 (N, height, width, 3): new, or the frames themselves where they have that size.

    Raises:
        MissingDependency: Pillow, which averages, is not installed.
    """
    if frames_nhwc.shape[1:3] == size:
        return frames_nhwc
    resize = _averaged if antialias else _sampled
    return np.ascontiguousarray(np.stack([resize(frame, size) for frame in frames_nhwc]))  # a stack keeps odd strides


def _averaged(frame_hwc: Frames, size: tuple[int, int]) -> Frames:
    with needs("Pillow"):
        from PIL import Image
    return np.asarray(Image.fromarray(frame_hwc).resize(size[::-1], Image.Resampling.BILINEAR))


def _sampled(frame_hwc: Frames, size: tuple[int, int]) -> Frames:
    """By OpenCV, whichever of its packages is there; without it numpy takes some fifteen times as long."""
    try:
        import cv2
    except ImportError:
        return _interpolated(frame_hwc, size)
    return np.asarray(cv2.resize(frame_hwc, size[::-1], interpolation=cv2.INTER_LINEAR))


def _interpolated(frame_hwc: Frames, size: tuple[int, int]) -> Frames:
    """Rows first, then columns, in fixed point: weights in 128ths and 256ths."""
    (height, width, _), (rows, columns) = frame_hwc.shape, size
    upper, lower, down = _neighbours(height, rows, 128)
    left, right, across = _neighbours(width, columns, 256)
    lines = frame_hwc.reshape(height, -1)
    mixed = lines[upper] * (128 - down)[:, None].astype(np.uint16)
    mixed += lines[lower] * down[:, None].astype(np.uint16)
    mixed_hwc = mixed.reshape(rows, width, 3)
    summed = mixed_hwc[:, left] * (256 - across)[:, None] + mixed_hwc[:, right] * across[:, None]
    rounded: Frames = ((summed + (1 << 14)) >> 15).astype(np.uint8)
    return rounded


def _neighbours(length: int, wanted: int, parts: int) -> tuple[Any, Any, Any]:
    """For each pixel centre of the result the two of the source beside it, and the weight of the second, uint32."""
    centres = ((np.arange(wanted) + 0.5) * (length / wanted) - 0.5).clip(0, length - 1)
    first = centres.astype(np.intp)
    weights = ((centres - first) * parts + 0.5).astype(np.uint32)
    return first, np.minimum(first + 1, length - 1), weights
