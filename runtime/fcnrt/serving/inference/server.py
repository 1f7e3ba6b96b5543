"""Serves a model to whoever sends frames, from threads of its own."""

from __future__ import annotations

import threading
from typing import Any

from ...contract.closing import Closing
from ...errors import needs
from ...segmenter import Segmenter
from ..hosting import Host
from .app import OPEN_PATHS, Service
from .limits import Limits

_USUAL = Limits()
_STRANGERS = 256  # more connections than requests: idle ones, those that are refused, and who asks for health
_IDLE_S = 75  # clients keep connections, and a request on one that is just being closed fails
_FAREWELL_S = 10  # for requests that are worked on at the end


def inference_application(segmenter: Segmenter, *, name: str, limits: Limits = _USUAL) -> Any:
    """What the server runs (ASGI), for servers of others' making, which let in whom they want.

    Args:
        segmenter: the model, which takes RGB; for the application alone, which closes neither it nor itself before the
            process ends.
        name: that clients call the model by.
        limits: of what is taken on.

    Raises:
        MissingDependency: Starlette or prometheus_client is not installed.
    """
    with needs("Starlette", "fcnrt[serve]"):
        from starlette.applications import Starlette
    return Starlette(routes=Service(segmenter, name, limits).routes)


class InferenceServer(Closing):
    """Labels frames for clients of the Open Inference Protocol, and pictures for everybody else; a context manager.

    Args:
        segmenter: the model, which takes RGB; for the server alone until it is closed.
        where: [HOST:]PORT; without a host this machine alone gets there, with port 0 it is any that is free.
        name: that clients call the model by.
        token: what clients must know; None: nothing.
        limits: of what is taken on.

    Attributes:
        address: where it listens.

    Raises:
        MediaError: it cannot listen there.
        MissingDependency: Starlette, uvicorn or prometheus_client is not installed.
        ValueError: `where` is no [HOST:]PORT.
    """

    def __init__(
        self, segmenter: Segmenter, where: str, *, name: str, token: str | None = None, limits: Limits = _USUAL
    ) -> None:
        self._service = Service(segmenter, name, limits)
        try:
            self._host = Host(
                where,
                lambda: self._service.routes,
                token=token,
                open_paths=OPEN_PATHS,
                connections=limits.requests + _STRANGERS,
                idle_s=_IDLE_S,
                farewell_s=_FAREWELL_S,
            )
        except BaseException:
            self._service.close()
            raise
        self.address = self._host.address
        self._ended = threading.Event()

    def wait(self) -> None:
        """Come back when another thread has closed the server."""
        self._ended.wait()

    def close(self) -> None:
        """Finish the requests that are worked on, for up to ten seconds; may be called twice."""
        self._host.close()
        self._service.close()
        self._ended.set()
