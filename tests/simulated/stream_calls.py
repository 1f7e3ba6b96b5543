"""The simulated driver's streams and events."""

from __future__ import annotations

from typing import Any

from .driver_calls import DriverBase, driver_call, number
from .graphs import Event
from .misuse import Refused
from .streams import Stream

_NON_BLOCKING = 1


class StreamCalls(DriverBase):
    """Functions whose names begin with cuStream (but capture) and cuEvent."""

    @driver_call(1)
    def cuStreamCreate(self, flags: int) -> Any:
        device = self.machine.current_device()
        return self.real.CUstream(self.machine.new_stream(device, blocking=number(flags) != _NON_BLOCKING))

    @driver_call()
    def cuStreamDestroy(self, stream: Any) -> None:
        self.machine.forget_stream(number(stream))

    @driver_call(unsafe=True)
    def cuStreamSynchronize(self, stream: Any) -> None:
        self.machine.counters["waits"] += 1
        self.machine.scheduler.wait(self.machine.tail(self._uncaptured(stream)))

    @driver_call(unsafe=True)
    def cuStreamQuery(self, stream: Any) -> None:
        if not all(operation.done for operation in self.machine.tail(self._uncaptured(stream))):
            raise Refused("NOT_READY")

    @driver_call()
    def cuStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> None:
        waiting, found = self._stream_of(stream), self._event(event)
        if found.capture and found.capture is not waiting.capture:
            self._join(waiting, found)
        elif waiting.capture and found.operations and not found.capture:
            waiting.capture.spoiled = True
            raise Refused("STREAM_CAPTURE_ISOLATION")
        elif waiting.capture:
            waiting.capture.join(waiting, found.nodes)
        else:
            waiting.follow(found.operations)
            self.machine.scheduler.tick()

    @driver_call(1)
    def cuEventCreate(self, flags: int) -> Any:
        return self.real.CUevent(self.machine.handles.lend(Event(self.machine.current_device())))

    @driver_call()
    def cuEventDestroy(self, event: Any) -> None:
        self._event(event)
        self.machine.handles.take_back(number(event))

    @driver_call()
    def cuEventRecord(self, event: Any, stream: Any) -> None:
        found, source = self._event(event), self._stream_of(stream)
        if found.device != source.device:
            raise Refused("INVALID_HANDLE")
        found.capture = source.capture
        if source.capture:
            found.nodes, found.operations = source.capture.tips(source), []
        else:
            found.nodes, found.operations = [], self.machine.tail(source)

    @driver_call(unsafe=True)
    def cuEventSynchronize(self, event: Any) -> None:
        self.machine.counters["waits"] += 1
        self.machine.scheduler.wait(self._uncaptured_event(event).operations)

    @driver_call(unsafe=True)
    def cuEventQuery(self, event: Any) -> None:
        found = self._uncaptured_event(event)
        if not all(operation.done for operation in found.operations):
            raise Refused("NOT_READY")
        self.machine.scheduler.wait(found.operations)

    def _join(self, stream: Stream, event: Event) -> None:
        """Let a stream take part in the capture that an event is of."""
        if stream.capture or event.capture not in self.machine.captures:
            for capture in filter(None, (stream.capture, event.capture)):
                capture.spoiled = True
            raise Refused("STREAM_CAPTURE_MERGE")
        assert event.capture
        event.capture.join(stream, event.nodes)

    def _stream_of(self, handle: Any) -> Stream:
        return self.machine.stream(number(handle), self.machine.current_device())

    def _uncaptured(self, handle: Any) -> Stream:
        stream = self._stream_of(handle)
        if stream.capture:
            stream.capture.spoiled = True
            raise Refused("STREAM_CAPTURE_UNSUPPORTED")
        return stream

    def _event(self, handle: Any) -> Event:
        event: Event = self.machine.lent(number(handle), Event)
        return event

    def _uncaptured_event(self, handle: Any) -> Event:
        event = self._event(handle)
        if event.capture:
            event.capture.spoiled = True
            raise Refused("CAPTURED_EVENT")
        return event
