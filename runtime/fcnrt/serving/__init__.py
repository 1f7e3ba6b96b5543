"""Labelled video and its figures for browsers and programs: a `LiveServer`, and a `LiveStream` for each input.

with LiveServer("127.0.0.1:8080") as server, open_source("rtsp://camera/stream") as source:
    stream = LiveStream(source, Drawing(segmenter.palette), segmenter.classes, segmenter.palette)
    server.add(stream)
    Pipeline(source, segmenter, [stream]).run()
"""

from .server import LiveServer
from .stream import LiveStream

__all__ = ["LiveServer", "LiveStream"]
