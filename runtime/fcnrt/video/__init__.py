"""Live video: sources of frames, a pipeline that labels them, and sinks.

from fcnrt.video import Drawing, OverlayVideo, Pipeline, open_source

with fcnrt.Segmenter("fcn8s.onnx") as segmenter, open_source("rtsp://camera/stream") as source:
    sink = OverlayVideo("overlay.mp4", source, Drawing(segmenter.palette))
    for frame, labels in Pipeline(source, segmenter, [sink]):
        ...
"""

from ..pictures.drawing import Drawing
from .frames import Frame, FrameSource, Labelled, Sink, StopRequested
from .pipeline import Pipeline
from .sinks.av_writer import VideoWriter
from .sinks.films import LabelVideo, OverlayVideo
from .sinks.push import Patience, PushVideo
from .sinks.raw_labels import RawLabels
from .sinks.stills import LabelPictures
from .sinks.window import Window
from .sources import open_source
from .statistics import StageStatistics, Statistics

__all__ = [
    "Drawing",
    "Frame",
    "FrameSource",
    "LabelPictures",
    "LabelVideo",
    "Labelled",
    "OverlayVideo",
    "Patience",
    "Pipeline",
    "PushVideo",
    "RawLabels",
    "Sink",
    "StageStatistics",
    "Statistics",
    "StopRequested",
    "VideoWriter",
    "Window",
    "open_source",
]
