"""Resizing frames on the CPU: by Pillow, which always averages, and by OpenCV, which never does."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingDependency, pip_install

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
        MissingDependency: Pillow or OpenCV is not installed.
    """
    if frames_nhwc.shape[1:3] == size:
        return frames_nhwc
    resize = _averaged if antialias else _sampled
    return np.stack([resize(frame, size) for frame in frames_nhwc])


def _averaged(frame_hwc: Frames, size: tuple[int, int]) -> Frames:
    image, (rows, columns) = _package("PIL.Image"), size
    return np.asarray(image.fromarray(frame_hwc).resize((columns, rows), image.Resampling.BILINEAR))


def _sampled(frame_hwc: Frames, size: tuple[int, int]) -> Frames:
    cv2, (rows, columns) = _package("cv2"), size
    return np.asarray(cv2.resize(frame_hwc, (columns, rows), interpolation=cv2.INTER_LINEAR))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"input_size on the CPU needs Pillow and OpenCV: {pip_install('fcnrt[video]')}"
        ) from error
