"""What the server answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ... import __version__
from ...contract.types import Array, UInt8Array, label_dtype
from ...errors import FrameError, first_line
from ...segmenter import Segmenter
from .batching import Batcher, usual_batch
from .limits import Gate, Limits, Refusal, body_of, discard_rest
from .metrics import Metrics
from .pictures import chosen_output, decoded, described
from .tensors import FRAMES, HEADER_LENGTH, LABELS, datatype, inference_answer, parse_inference
from .workers import Workers

OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")  # who asks whether it works need not know the token

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_LEFT = 499  # what the client would have got that does not wait for it; nobody sees it but the metrics

Handler = Callable[[Any], Awaitable[Any]]


class Service:
    """Answers requests for one model.

    Args:
        segmenter: the model, for this alone from now on.
        name: that clients call it by.
        limits: of what is taken on.
    """

    def __init__(self, segmenter: Segmenter, name: str, limits: Limits) -> None:
        self._name, self._limits, self._gate = name, limits, Gate(limits.requests)
        self._classes, self._palette = segmenter.classes, segmenter.palette
        self._metrics = Metrics(lambda: self._gate.inside, lambda: self._batcher.waiting)
        self._batcher = Batcher(segmenter, limits.batch or usual_batch(segmenter.device), self._metrics.labelled)
        self._reading, self._writing = Workers("fcnrt reads"), Workers("fcnrt writes")

    def close(self) -> None:
        """Finish what was begun."""
        self._reading.close()
        self._batcher.close()
        self._writing.close()

    @property
    def routes(self) -> list[Any]:
        from starlette.routing import Route

        model = "/v2/models/{name}"
        return [
            Route("/v2", self._about_server),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
            *(route for path in (model, f"{model}/versions/{{version}}") for route in self._routes_of_model(path)),
            Route("/segment", self._limited("/segment", self._segment), methods=["POST"]),
            Route("/metrics", self._figures),
            Route("/{path:path}", self._elsewhere, methods=METHODS),
        ]

    def _routes_of_model(self, path: str) -> list[Any]:
        from starlette.routing import Route

        infer = self._limited("/v2/models/infer", self._infer)
        return [
            Route(path, self._about_model),
            Route(f"{path}/ready", self._model_ready),
            Route(f"{path}/infer", infer, methods=["POST"]),
        ]

    async def _elsewhere(self, request: Any) -> Any:
        """Clients read errors as JSON, those for other addresses too."""
        from starlette.routing import Match

        half = [route for route in self.routes if route.matches(request.scope)[0] is Match.PARTIAL]
        wanted = ", ".join(sorted({method for route in half for method in route.methods}))
        if wanted:
            return _json({"error": f"expected {wanted}, got {request.method}"}, 405, {"Allow": wanted})
        return _json({"error": "there is nothing here; expected /segment, /metrics, /v2 or what is below it"}, 404)

    async def _about_server(self, request: Any) -> Any:
        return _json({"name": "fcnrt", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def _live(self, request: Any) -> Any:
        return _json({"live": True})

    async def _ready(self, request: Any) -> Any:
        return _json({"ready": self._batcher.works}, 200 if self._batcher.works else 503)

    async def _model_ready(self, request: Any) -> Any:
        if refused := self._other_model(request):
            return refused
        return _json({"name": self._name, "ready": self._batcher.works}, 200 if self._batcher.works else 503)

    async def _about_model(self, request: Any) -> Any:
        if refused := self._other_model(request):
            return refused
        labels = datatype(label_dtype(len(self._classes)))
        return _json(
            {
                "name": self._name,
                "versions": ["1"],
                "platform": "fcnrt",
                "inputs": [{"name": FRAMES, "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
                "outputs": [{"name": LABELS, "datatype": labels, "shape": [-1, -1, -1]}],
                "parameters": {"classes": list(self._classes), "palette": self._palette.tolist()},
            }
        )

    async def _figures(self, request: Any) -> Any:
        from starlette.responses import Response

        text, kind = self._metrics.page()
        return Response(text, headers={"Content-Type": kind})

    def _other_model(self, request: Any) -> Any:
        """The answer to who asks for another model than this; None where nobody does."""
        name, version = request.path_params["name"], request.path_params.get("version", "1")
        if (name, version) == (self._name, "1"):
            return None
        return _json({"error": f"expected model {self._name}, version 1, got {name}, version {version}"}, 404)

    async def _infer(self, request: Any) -> Any:
        from starlette.responses import Response

        if refused := self._other_model(request):
            return refused
        body, length = await body_of(request, self._limits), request.headers.get(HEADER_LENGTH)
        inference = await self._reading.do(parse_inference, body, length, self._limits.pixels)
        labels = await self._labels(request, inference.frames)
        content, headers = await self._writing.do(inference_answer, self._name, inference, labels)
        return Response(content, headers=headers)

    async def _segment(self, request: Any) -> Any:
        from starlette.responses import Response

        output = chosen_output(request.query_params.get("output"), request.headers.get("accept", ""))
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise Refusal(415, "expected the picture itself as the body (curl --data-binary @FILE), got a form")
        body = await body_of(request, self._limits)
        frame = await self._reading.do(decoded, body, self._limits.pixels)
        labels = (await self._labels(request, frame[None]))[0]
        content = await self._writing.do(output.make, frame, labels, self._palette)
        headers = {"Content-Type": output.content_type, **described(labels, len(self._classes))}
        return Response(content, headers=headers)

    async def _labels(self, request: Any, frames: UInt8Array) -> Array:
        """The labels of frames; where the client leaves before their turn comes, nobody works for it."""
        order = self._batcher.submit(frames)
        labels = asyncio.wrap_future(order)
        leaving = asyncio.ensure_future(request.receive())  # the body is read: nothing else can come
        await asyncio.wait((labels, leaving), return_when=asyncio.FIRST_COMPLETED)
        if labels.done():
            leaving.cancel()
            return labels.result()
        order.cancel()
        raise Refusal(_LEFT, "the client has left")

    def _limited(self, path: str, handler: Handler) -> Handler:
        """A handler that works for so many at once, whose refusals are told, and whose work is counted."""

        async def answer(request: Any) -> Any:
            began = time.monotonic()
            response = await self._answer(request, handler)
            self._metrics.answered(path, response.status_code, time.monotonic() - began)
            return response

        return answer

    async def _answer(self, request: Any, handler: Handler) -> Any:
        from starlette.requests import ClientDisconnect

        try:
            with self._gate.place():
                return await handler(request)
        except ClientDisconnect:
            return _json({}, _LEFT)
        except FrameError as error:
            refusal = Refusal(400, str(error))
        except Refusal as error:
            refusal = error
        except Exception as error:  # one request's fault is not the server's end
            refusal = Refusal(500, first_line(error))
        if refusal.status != 408:
            await discard_rest(request, self._limits)
        return _json({"error": str(refusal)}, refusal.status, refusal.headers)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(content, status, headers)
