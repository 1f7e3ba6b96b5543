"""fcnrt: per-pixel labels on live video from trained FCN segmentation checkpoints.

import fcnrt

segment = fcnrt.Segmenter("fcn8s.onnx")
labels = segment(frame)                 # uint8 (H, W, 3) -> uint8 (H, W)
"""

from .device_arrays import DeviceArray, Nv12Frame
from .errors import (
    BackendError,
    FcnrtError,
    FrameError,
    MediaError,
    MissingDependency,
    ModelFileError,
    UsageError,
)
from .palette import legend, overlay
from .reference_ops import softmax, upsample
from .segmenter import Segmenter
from .spec import ModelSpec, Tail

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "DeviceArray",
    "FcnrtError",
    "FrameError",
    "MediaError",
    "MissingDependency",
    "ModelFileError",
    "ModelSpec",
    "Nv12Frame",
    "Segmenter",
    "Tail",
    "UsageError",
    "legend",
    "overlay",
    "softmax",
    "upsample",
]
