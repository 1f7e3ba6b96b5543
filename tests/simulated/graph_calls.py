"""The simulated driver's stream capture and graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .driver_calls import DriverBase, driver_call, number
from .graphs import RELAXED, Capture, GraphExec, Node
from .misuse import Refused
from .streams import Stream


@dataclass(eq=False)
class Graph:
    """A template: what a capture recorded."""

    origin: Stream
    nodes: list[Node]


class GraphCalls(DriverBase):
    """Functions of capture and graphs."""

    @driver_call()
    def cuStreamBeginCapture(self, stream: Any, mode: Any) -> None:
        origin = self.machine.stream(number(stream), self.machine.current_device())
        if origin.is_legacy:
            raise Refused("STREAM_CAPTURE_UNSUPPORTED")
        if origin.capture:
            raise Refused("ILLEGAL_STATE")
        self.machine.captures.append(Capture(origin, number(mode)))

    @driver_call(1)
    def cuStreamEndCapture(self, stream: Any) -> Any:
        origin = self.machine.stream(number(stream), self.machine.current_device())
        capture = origin.capture
        if capture is None:
            raise Refused("ILLEGAL_STATE")
        if capture.origin is not origin:
            raise Refused("STREAM_CAPTURE_UNMATCHED")
        if capture.mode != RELAXED and not capture.is_of_this_thread():
            raise Refused("STREAM_CAPTURE_WRONG_THREAD")
        self.machine.captures.remove(capture)
        nodes = capture.end()
        if status := self.machine.injected("cuStreamEndCapture"):
            raise Refused(status)
        return self.real.CUgraph(self.machine.handles.lend(Graph(origin, nodes)))

    @driver_call(1)
    def cuStreamIsCapturing(self, stream: Any) -> Any:
        status = self.real.CUstreamCaptureStatus
        capture = self.machine.stream(number(stream), self.machine.current_device()).capture
        if capture is None:
            return status.CU_STREAM_CAPTURE_STATUS_NONE
        spoiled, active = status.CU_STREAM_CAPTURE_STATUS_INVALIDATED, status.CU_STREAM_CAPTURE_STATUS_ACTIVE
        return spoiled if capture.spoiled else active

    @driver_call(1)
    def cuGraphInstantiate(self, graph: Any, flags: int) -> Any:
        template: Graph = self.machine.lent(number(graph), Graph)
        return self.real.CUgraphExec(self.machine.handles.lend(GraphExec(template.origin, template.nodes)))

    @driver_call()
    def cuGraphDestroy(self, graph: Any) -> None:
        self.machine.lent(number(graph), Graph)
        self.machine.handles.take_back(number(graph))

    @driver_call()
    def cuGraphExecDestroy(self, graph: Any) -> None:
        self.machine.lent(number(graph), GraphExec)
        self.machine.handles.take_back(number(graph))

    @driver_call()
    def cuGraphLaunch(self, graph: Any, stream: Any) -> None:
        found = self.machine.lent(number(graph), GraphExec)
        target = self.machine.stream(number(stream), self.machine.current_device())
        if target.capture:
            raise Refused("NOT_SUPPORTED")  # CUDA makes a child graph of it; nothing here does that on purpose
        self.machine.counters["graph launches"] += 1
        found.launch(self.machine.scheduler, target, self.machine.tail(target))
