"""Figures for Prometheus, by its own client library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import needs

_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What the server has done, in the names of docs/serving.md.

    Args:
        inside: how many requests are worked on or wait now.
        waiting: how many of them the network has not begun with.

    Raises:
        MissingDependency: prometheus_client is not installed.
    """

    def __init__(self, inside: Callable[[], int], waiting: Callable[[], int]) -> None:
        with needs("prometheus_client", "fcnrt[serve]"):
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        self._registry = CollectorRegistry()
        kind: dict[str, Any] = {"registry": self._registry}
        asked = ("path",)
        self._requests = Counter("fcnrt_requests", "Requests by path and HTTP status", (*asked, "status"), **kind)
        self._seconds = Histogram("fcnrt_request_seconds", "From a request's head to its answer", asked, **kind)
        self._frames = Counter("fcnrt_frames", "Frames labelled", **kind)
        self._batch = Histogram("fcnrt_batch_frames", "Frames in a run of the network", buckets=_BATCHES, **kind)
        self._engine = Histogram("fcnrt_engine_seconds", "A run of the network, with what makes its labels", **kind)
        Gauge("fcnrt_requests_inside", "Requests worked on or waiting now", **kind).set_function(inside)
        Gauge("fcnrt_requests_waiting", "Requests that wait for the network now", **kind).set_function(waiting)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def labelled(self, frames: int, seconds: float) -> None:
        """Count a run of the network."""
        self._frames.inc(frames)
        self._batch.observe(frames)
        self._engine.observe(seconds)

    def page(self) -> tuple[bytes, str]:
        """The figures as text, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
