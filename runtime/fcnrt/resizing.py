"""Resizing frames on the CPU, by Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import MissingDependency

Frames = npt.NDArray[np.uint8]


def resized(frames_nhwc: Frames, size: tuple[int, int], antialias: bool) -> Frames:
    """Frames of another size; reference_ops.resize but for a rounding by 1.

    Args:
        frames_nhwc: uint8 (N, H, W, 3).
        size: (height, width) of the result.
        antialias: average over what a pixel covers when reducing.

    Returns:
        uint8 (N, height, width, 3), new.

    Raises:
        MissingDependency: Pillow is not installed.
    """
    if frames_nhwc.shape[1:3] == size:
        return frames_nhwc
    image = _pillow()
    return np.stack([_resized(image, frame, size, antialias) for frame in frames_nhwc])


def _resized(image: Any, frame_hwc: Frames, size: tuple[int, int], antialias: bool) -> Frames:
    (height, width), (rows, columns) = frame_hwc.shape[:2], size
    source = image.fromarray(frame_hwc)
    if antialias:
        return np.asarray(source.resize((columns, rows), image.Resampling.BILINEAR))
    scale = (width / columns, 0, 0, 0, height / rows, 0)  # Pillow's resize always averages, its transform never does
    return np.asarray(source.transform((columns, rows), image.Transform.AFFINE, scale, image.Resampling.BILINEAR))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("input_size on the CPU needs Pillow: pip install 'fcnrt[video]'") from error
    return Image
