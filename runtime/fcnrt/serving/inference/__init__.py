"""Labels for whoever sends frames: the Open Inference Protocol (KServe's v2), and pictures in, pictures out."""

from .limits import Limits
from .server import InferenceServer

__all__ = ["InferenceServer", "Limits"]
