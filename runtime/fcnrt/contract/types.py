"""Types of arrays and shapes, once for everything that passes them on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.unsignedinteger[Any]]  # of `label_dtype(classes)`

MAX_UINT8 = 256  # classes

Shape = tuple[int, int, int]  # (batch, height, width)
Frames = UInt8Array  # (N, H, W, 3), C-contiguous
Labels = LabelArray  # (N, H, W)
Confidence = UInt8Array  # (N, H, W), 255 for certainty
Scores = npt.NDArray[np.float32]  # (N, C, h, w)


def label_dtype(classes: int) -> type[np.uint8] | type[np.uint16]:
    """Return the dtype of labels: uint8 up to 256 classes, uint16 beyond."""
    return np.uint8 if classes <= MAX_UINT8 else np.uint16


def void_label(dtype: Any) -> int:
    """The label of pixels that have none: the largest that a type holds, 255 or 65535."""
    return int(np.iinfo(dtype).max)
