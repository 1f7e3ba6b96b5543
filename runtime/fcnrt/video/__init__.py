"""Live video: sources of frames, a pipeline that labels them, and sinks.

from fcnrt.video import Drawing, OverlayVideo, Pipeline, open_source

with fcnrt.Segmenter("fcn8s.onnx") as segmenter, open_source("rtsp://camera/stream") as source:
    sink = OverlayVideo("overlay.mp4", source, Drawing(segmenter.palette))
    for frame, labels in Pipeline(source, segmenter, [sink]):
        ...
"""

from .av_writer import VideoWriter
from .drawing import Drawing
from .frames import Frame, FrameSource, Labelled, Sink, StopRequested
from .pipeline import Pipeline
from .sinks import LabelPictures, LabelVideo, OverlayVideo, RawLabels
from .sources import open_source
from .statistics import StageStatistics, Statistics
from .window import Window

__all__ = [
    "Drawing",
    "Frame",
    "FrameSource",
    "LabelPictures",
    "LabelVideo",
    "Labelled",
    "OverlayVideo",
    "Pipeline",
    "RawLabels",
    "Sink",
    "StageStatistics",
    "Statistics",
    "StopRequested",
    "VideoWriter",
    "Window",
    "open_source",
]
