"""What a request may cost, and how one is told that it may not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Limits(NamedTuple):
    """What the server takes upon itself.

    Attributes:
        body: bytes of a request.
        pixels: of all frames of a request together.
        requests: that are worked on or wait at the same time; others are told to come again.
        body_s: seconds that a request may take to arrive.
        batch: frames of several requests that go through the network together; None: as many
            as pay on the device.
    """

    body: int = 32 << 20
    pixels: int = 9_000_000
    requests: int = 32
    body_s: float = 30.0
    batch: int | None = None


class Refusal(Exception):
    """Why a request gets no labels.

    Args:
        status: of HTTP.
        text: one line for people.
        headers: that go with it.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.headers = status, dict(headers or {})


class Gate:
    """Lets so many in at once, and never has one wait: who comes too much is told when to come again."""

    def __init__(self, places: int) -> None:
        self._places, self.inside = places, 0

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place for the time of the block; raises Refusal where none is free."""
        if self.inside >= self._places:
            raise Refusal(503, f"busy with {self._places} requests, which is as many as may be", {"Retry-After": "1"})
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


async def body_of(request: Any, limits: Limits) -> bytes:
    """The whole body of a request; raises Refusal where it is too large, packed, or late."""
    packed = request.headers.get("content-encoding", "identity")
    if packed != "identity":
        raise Refusal(415, f"expected a body without Content-Encoding, got {packed!r}")
    if int(request.headers.get("content-length", 0)) > limits.body:
        raise _too_large(limits)
    try:
        return await asyncio.wait_for(_gathered(request, limits), limits.body_s)
    except asyncio.TimeoutError:
        text = f"expected the whole request within {limits.body_s:g} s"
        raise Refusal(408, text, {"Connection": "close"}) from None


async def discard_rest(request: Any, limits: Limits) -> None:
    """Read what a client still sends: one that is cut off in the middle would not see the answer."""
    from starlette.requests import ClientDisconnect

    if "expect" in request.headers:  # it waits for the answer before it sends
        return
    with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: it was read already
        await asyncio.wait_for(_discarded(request), limits.body_s)


async def _gathered(request: Any, limits: Limits) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limits.body:
            raise _too_large(limits)
        body += chunk
    return bytes(body)


async def _discarded(request: Any) -> None:
    async for _ in request.stream():
        pass


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"expected a body of at most {limits.body} bytes", {"Connection": "close"})
