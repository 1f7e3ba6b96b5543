"""What the server answers: the page, the video, figures, pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from .stream import LiveStream

STATIC = Path(__file__).parent / "static"

_STATIC_FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
_PICTURES = {"overlay.jpg": "image/jpeg", "frame.jpg": "image/jpeg", "labels.png": "image/png"}
_BOUNDARY = "frame"
_FIGURES_S = 1.0  # between two sets of figures


class Bell:
    """Wakes all who wait in an event loop; to be rung from its thread."""

    def __init__(self) -> None:
        self._event, self.closed = asyncio.Event(), False

    def ring(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    def close(self) -> None:
        """Ring, for the last time."""
        self.closed = True
        self.ring()

    async def wait(self) -> None:
        await self._event.wait()


class Site:
    """The streams and who watches them.

    Args:
        streams: by their names; others may come later.
        clients: how many may watch the video, and how many may have figures sent, at the same time.
        bell: is rung when a stream has something new.
    """

    def __init__(self, streams: Mapping[str, LiveStream], clients: int, bell: Bell) -> None:
        self._streams, self._clients, self._bell = streams, clients, bell
        self._watching = {"video": 0, "figures": 0}

    @property
    def viewers(self) -> int:
        """How many watch the video now."""
        return self._watching["video"]

    @property
    def routes(self) -> list[Any]:
        from starlette.routing import Route

        files = [Route(path, _static(name)) for path, name in _STATIC_FILES.items()]
        pictures = [Route(f"/{name}", self._picture(name, kind)) for name, kind in _PICTURES.items()]
        return [
            *files,
            *pictures,
            Route("/stats.json", self._figures_once),
            Route("/stats", self._figures),
            Route("/video.mjpg", self._video),
        ]

    def _figures_of(self, stream: LiveStream) -> dict[str, Any]:
        return {"inputs": list(self._streams), **stream.figures, "viewers": self.viewers}

    async def _figures_once(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        stream = self._stream(request)
        return JSONResponse(self._figures_of(stream)) if stream else _refusal(request)

    async def _figures(self, request: Any) -> Any:
        """Server-sent events, until the client leaves."""
        return self._lasting("figures", "text/event-stream", self._events(request))

    async def _video(self, request: Any) -> Any:
        """Motion JPEG, until the client leaves."""
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return self._lasting("video", kind, self._parts(request))

    def _picture(self, name: str, kind: str) -> Any:
        async def answer(request: Any) -> Any:
            from starlette.concurrency import run_in_threadpool
            from starlette.responses import Response

            stream = self._stream(request)
            snapshot = stream.newest if stream else None
            if snapshot is None:
                return _refusal(request)
            content = await run_in_threadpool(snapshot.file, name)
            return Response(content, media_type=kind, headers={"X-Frame-Number": str(snapshot.frame.number)})

        return answer

    def _stream(self, request: Any) -> LiveStream | None:
        """The stream that is asked for; where none is, the first."""
        wanted = request.query_params.get("input")
        return self._streams.get(wanted) if wanted else next(iter(self._streams.values()), None)

    def _lasting(self, what: str, kind: str, chunks: AsyncIterator[bytes]) -> Any:
        """An answer without an end, where there is room for one more."""
        from starlette.responses import PlainTextResponse, StreamingResponse

        if self._watching[what] >= self._clients:
            text = f"{self._clients} clients are there already, which is as many as may be\n"
            return PlainTextResponse(text, 503, {"Retry-After": "5"})
        return StreamingResponse(self._counted(what, chunks), media_type=kind)

    async def _counted(self, what: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._watching[what] += 1
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            self._watching[what] -= 1

    async def _events(self, request: Any) -> AsyncIterator[bytes]:
        yield b": hello\n\n"
        while not self._bell.closed:
            stream = self._stream(request)
            if stream:
                yield f"data: {json.dumps(self._figures_of(stream))}\n\n".encode()
            await asyncio.sleep(_FIGURES_S)

    async def _parts(self, request: Any) -> AsyncIterator[bytes]:
        """Each newest frame; a client that is slow misses those between."""
        from starlette.concurrency import run_in_threadpool

        yield f"--{_BOUNDARY}\r\n".encode()
        shown = None
        while not self._bell.closed:
            stream = self._stream(request)
            newest = stream.newest if stream else None
            if newest is None or newest is shown:
                await self._bell.wait()
                continue
            shown = newest
            picture = await run_in_threadpool(shown.file, "overlay.jpg")
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            # With the next boundary at once: browsers show a picture when they have seen it.
            yield head.encode() + picture + f"\r\n--{_BOUNDARY}\r\n".encode()


def _static(name: str) -> Any:
    async def answer(request: Any) -> Any:
        from starlette.responses import FileResponse

        return FileResponse(STATIC / name)

    return answer


def _refusal(request: Any) -> Any:
    """The answer where a stream, or its first frame, is not there."""
    from starlette.responses import PlainTextResponse

    wanted = request.query_params.get("input")
    text = f"no input called {wanted!r}, or no frame of it yet\n" if wanted else "no frame yet\n"
    return PlainTextResponse(text, 404 if wanted else 503)
