"""Labels for whoever sends frames: the Open Inference Protocol (KServe's v2), and pictures in, pictures out."""

from .limits import Limits
from .server import InferenceServer, inference_application

__all__ = ["InferenceServer", "Limits", "inference_application"]
