"""Simulated stream capture and graphs.

While a stream is captured, work is recorded with the addresses it was given; a launch queues it again, behind the
stream's work and behind the graph's own previous launch. What CUDA forbids during capture answers with CUDA's status
and spoils the capture, as on a GPU: waiting for captured streams, allocating and freeing in the capturing thread (in
every thread while a GLOBAL capture runs), mixing captured and uncaptured work, forgetting to join.

Not proved: that an engine's own work can be captured on a given version.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from .misuse import Refused
from .streams import Operation, Scheduler, Stream, Work

GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2  # CUstreamCaptureMode


@dataclass(eq=False)
class Node:
    """Captured work."""

    work: Work
    after: list[Node]
    stream: Stream


@dataclass(eq=False)
class Event:
    """A point in a stream: operations that it stands behind, or captured nodes."""

    device: int
    operations: list[Operation] = field(default_factory=list)
    capture: Capture | None = None
    nodes: list[Node] = field(default_factory=list)


class Capture:
    """Work that is being recorded, from `origin` and the streams that joined it."""

    def __init__(self, origin: Stream, mode: int):
        self.origin, self.mode = origin, mode
        self.thread = threading.get_ident()
        self.spoiled = False
        self.nodes: list[Node] = []
        self._tips: dict[Stream, list[Node]] = {}
        self.join(origin, [])

    def record(self, stream: Stream, work: Work) -> None:
        node = Node(work, self._tips[stream], stream)
        self.nodes.append(node)
        self._tips[stream] = [node]

    def join(self, stream: Stream, nodes: Iterable[Node]) -> None:
        stream.capture = self
        self._tips[stream] = list(dict.fromkeys([*self._tips.get(stream, []), *nodes]))

    def tips(self, stream: Stream) -> list[Node]:
        return list(self._tips[stream])

    def is_of_this_thread(self) -> bool:
        return self.thread == threading.get_ident()

    def forbids_unsafe_calls(self) -> bool:
        """Whether this thread must not allocate, free or wait meanwhile."""
        return self.mode == GLOBAL or (self.mode == THREAD_LOCAL and self.is_of_this_thread())

    def end(self) -> list[Node]:
        """Stop recording; the nodes, if all of it can be replayed."""
        for stream in self._tips:
            stream.capture = None
        if self.spoiled:
            raise Refused("STREAM_CAPTURE_INVALIDATED")
        if self._joined() != set(self.nodes):
            raise Refused("STREAM_CAPTURE_UNJOINED")
        return self.nodes

    def _joined(self) -> set[Node]:
        """What the end of the origin stream waits for."""
        found: set[Node] = set()
        open_ends = self.tips(self.origin)
        while open_ends:
            node = open_ends.pop()
            if node not in found:
                found.add(node)
                open_ends.extend(node.after)
        return found


class GraphExec:
    """A captured graph, ready to be launched."""

    def __init__(self, origin: Stream, nodes: list[Node]):
        self._origin, self._nodes = origin, nodes
        self._last: list[Operation] = []
        self._lanes: dict[Stream, object] = {}

    def launch(self, scheduler: Scheduler, stream: Stream, after: list[Operation]) -> None:
        """Queue the captured work; a graph never overlaps with itself."""
        entry = [*after, *self._last]
        queued: dict[Node, Operation] = {}
        for node in self._nodes:
            operations = [queued[earlier] for earlier in node.after] or entry
            queued[node] = scheduler.submit(node.work, self._lane(node, stream), operations)
        stream.follow([*entry, *queued.values()])
        self._last = list(stream.last)

    def _lane(self, node: Node, stream: Stream) -> object:
        return stream.lane if node.stream is self._origin else self._lanes.setdefault(node.stream, object())
