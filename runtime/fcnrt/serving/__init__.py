"""Labelled video and its figures for browsers and programs, by Starlette and uvicorn.

with LiveServer("8080") as server, open_source("rtsp://camera/stream") as source:
    sink = server.stream(source, Drawing(segmenter.palette), segmenter.classes, segmenter.palette)
    Pipeline(source, segmenter, [sink]).run()
"""

from .server import LiveServer
from .stream import LiveStream

__all__ = ["LiveServer", "LiveStream"]
