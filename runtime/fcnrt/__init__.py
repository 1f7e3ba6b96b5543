"""fcnrt: per-pixel labels on live video from trained FCN segmentation checkpoints.

import fcnrt

segment = fcnrt.Segmenter("fcn8s.onnx")
labels = segment(frame)                 # uint8 (H, W, 3) -> uint8 (H, W)
"""

from .contract.spec import ModelSpec
from .contract.tail import Tail
from .errors import BackendError, FcnrtError, FrameError, MediaError, MissingDependency, ModelFileError, UsageError
from .gpu.arrays import DeviceArray, Nv12Frame
from .ops.reference import softmax, upsample
from .pictures.legends import legend
from .pictures.palette import overlay
from .pictures.reading import read_labels
from .segmenter import Segmenter

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
    "read_labels",
    "softmax",
    "upsample",
]
