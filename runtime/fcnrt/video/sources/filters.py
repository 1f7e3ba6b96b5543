"""FFmpeg's filters as PyAV runs them: a chain of them that frames go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any


class FilterGraph:
    """A chain of filters; it is built by the first frame, and anew where frames change their size or format.

    Args:
        filters: names and options, as FFmpeg calls them.
    """

    def __init__(self, filters: Sequence[tuple[str, Mapping[str, str]]]) -> None:
        self._filters = filters
        self._kind: tuple[object, ...] | None = None
        self._graph: Any = None

    def __call__(self, frame: Any) -> list[Any]:
        """What comes out when a frame goes in."""
        kind = frame.width, frame.height, frame.format.name, frame.time_base
        out = []
        if kind != self._kind:
            out, self._kind = self.flush(), kind
            self._graph = self._built(frame)
        self._graph.vpush(frame)
        return out + self._pulled()

    def flush(self) -> list[Any]:
        """What is still inside; the next frame starts anew."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        out, self._graph, self._kind = self._pulled(), None, None
        return out

    def _built(self, frame: Any) -> Any:
        from av.filter import Graph

        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
        nodes = [source, *(graph.add(name, **options) for name, options in self._filters), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph

    def _pulled(self) -> list[Any]:
        from av.error import BlockingIOError, EOFError

        frames = []
        while True:
            try:
                frames.append(self._graph.vpull())
            except (BlockingIOError, EOFError):
                return frames
