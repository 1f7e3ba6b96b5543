"""What this program serves over HTTP, by Starlette and uvicorn: a live page, and labels for whoever sends frames.

`live` shows labelled video to browsers while `fcnrt segment --serve` makes it; `inference` labels what clients send to
`fcnrt serve`. Both stand on `address` (where to listen), `hosting` (a server in a thread), `guard` (who may come in).

with LiveServer("8080") as server, open_source("rtsp://camera/stream") as source:
    sink = server.stream(source, Drawing(segmenter.palette), segmenter.classes, segmenter.palette)
    Pipeline(source, segmenter, [sink]).run()

with InferenceServer(segmenter, "8000", name="street") as server:
    server.wait()
"""

from .inference import InferenceServer, Limits, inference_application
from .live import LiveServer, LiveStream

__all__ = ["InferenceServer", "Limits", "LiveServer", "LiveStream", "inference_application"]
