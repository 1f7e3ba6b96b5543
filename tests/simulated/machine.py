"""A machine with simulated GPUs: what the simulated driver, engines and kernels share, and what tests ask and break.

Not proved by any of it: timing, the real memory model of the hardware, the numerics of TensorRT or of CUDA kernels, and
whatever a driver does beyond its documentation. A sticky error spares the calls that do no work on the device
(contexts, attributes); whether a given driver spares exactly those is not known.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from .graphs import Capture
from .kernels import KernelRegistry
from .memory import Allocation, Memory
from .misuse import Misuse, Refused
from .streams import Operation, Scheduler, Stream, Work

LEGACY, LEGACY_BY_NAME = 0, 1  # handles of the default stream
PRIMARY = 0xC0000  # handle of device 0's primary context
_FIRST_HANDLE = 0x5000


@dataclass
class _Failure:
    status: str
    calls_left: int
    times: int


@dataclass
class _Handles:
    """What the driver lent: by handle, of any kind, so that no event passes for a stream."""

    live: dict[int, Any] = field(default_factory=dict)
    returned: set[int] = field(default_factory=set)
    used: int = _FIRST_HANDLE

    def lend(self, thing: Any) -> int:
        self.used += 16
        self.live[self.used] = thing
        return self.used

    def take_back(self, handle: int) -> None:
        del self.live[handle]
        self.returned.add(handle)


class SimulatedCuda:
    """GPUs, their memory and their streams.

    Attributes:
        counters: calls by name of the driver's function; "waits" and "implicit waits" of the host; "allocations",
            also of engines; "graph launches"; "pageable copies"; and, once they execute, "launches", and "HtoD",
            "HtoD bytes" and so on for copies.
        capacity: bytes of each device's memory.
        sm: compute capability, 89 for 8.9.
    """

    def __init__(self, mode: str = "lazy", sm: int = 89, devices: int = 1, driver: bool = True,
                 capacity: int = 8 << 30, seed: int = 0):  # fmt: skip
        self.sm, self.devices, self.has_driver, self.capacity = sm, devices, driver, capacity
        self.lock = threading.RLock()
        self.memory = Memory()
        self.scheduler = Scheduler(self.memory, mode, seed)
        self.handles = _Handles()
        self.kernels = KernelRegistry(self.memory)
        self.counters: Counter[str] = Counter()
        self.captures: list[Capture] = []
        self.retained = [0] * devices
        self.initialised = False
        self.broken: str | None = None
        self.misuses: list[Misuse] = []
        self._streams = [Stream(LEGACY, device, blocking=False, owner="test") for device in range(devices)]
        self._legacy = tuple(self._streams)
        self._failures: dict[str, _Failure] = {}
        self._break_in: int | None = None
        self._break_with = ""
        self._thread = threading.local()
        self.driver: Any = None  # what stands for cuda.bindings.driver

    def fail(self, function: str, status: str = "UNKNOWN", after: int = 0, times: int = 1) -> None:
        """Let a driver function answer with a status, after so many more calls that work, so many times."""
        self._failures[function] = _Failure(status, after, times)

    def break_at_launch(self, number: int, status: str = "ILLEGAL_ADDRESS") -> None:
        """Break the context for good when the launch of this number, from 1 on, executes."""
        self._break_in, self._break_with = number, status

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """The counters of what happens inside the block, filled in at its end."""
        before, made = Counter(self.counters), Counter[str]()
        yield made
        made.update({name: count - before[name] for name, count in self.counters.items() if count != before[name]})

    def bytes_alive(self, device: int = 0, owner: str | None = None) -> int:
        """Device memory in use."""
        found = self.memory.allocations("device")
        return sum(each.nbytes for each in found if each.device == device and owner in (None, each.owner))

    def read(self, address: int, shape: Sequence[int], dtype: npt.DTypeLike, after: int | None = None) -> Any:
        """A copy of device memory as it is, or as it is once a stream (its handle) has done its work."""
        with self.lock:
            if after is not None:
                self.scheduler.wait(self.tail(self.stream(after, 0)))
            return self.memory.view(address, shape, dtype).copy()

    @contextlib.contextmanager
    def expecting(self, text: str) -> Iterator[None]:
        """A misuse with these words happens inside the block."""
        try:
            yield
        except Misuse as misuse:
            assert text in str(misuse), misuse
            self.misuses.clear()
        else:
            raise AssertionError(f"expected a misuse: {text}")

    def check(self) -> None:
        """All work that is queued can be done, and nothing that the code under test borrowed is left."""
        self.scheduler.wait_for_all()
        if self.misuses:
            raise self.misuses[0]
        if self.broken:  # nothing can be given back any more
            return
        left = self._left()
        if left:  # what waits for the garbage collector is not leaked
            gc.collect()
            left = self._left()
        if left:
            raise Misuse(f"leaked: {', '.join(left)}")

    def _left(self) -> list[str]:
        memory = [f"{each.nbytes} bytes of {each.kind} memory" for each in self.memory.allocations()
                  if each.owner != "test"]  # fmt: skip
        borrowed = [thing for thing in self.handles.live.values() if getattr(thing, "owner", "runtime") == "runtime"]
        lent = [type(thing).__name__ for thing in borrowed]
        contexts = [f"context of device {device}" for device, count in enumerate(self.retained) if count]
        return memory + lent + contexts

    def end_process(self) -> None:
        """What ends with a process and is not given back before."""
        self.retained = [0] * self.devices
        self.contexts.clear()

    def allocate(self, nbytes: int, kind: str, device: int, owner: str) -> Allocation:
        """Memory within the capacity; out of it, the driver's status."""
        with self.lock:
            if kind == "device" and self.bytes_alive(device) + nbytes > self.capacity:
                raise Refused("OUT_OF_MEMORY")
            self.counters["allocations"] += 1
            return self.memory.allocate(nbytes, kind, device, owner)

    def new_stream(self, device: int, blocking: bool, owner: str = "runtime") -> int:
        """The handle of a new stream."""
        stream = Stream(0, device, blocking, owner)
        stream.handle = self.handles.lend(stream)
        self._streams.append(stream)
        return stream.handle

    def forget_stream(self, handle: int) -> None:
        """Destroy a stream; its work goes on."""
        stream = self.lent(handle, Stream)
        if stream.capture:
            stream.capture.spoiled = True
        self._streams.remove(stream)
        self.handles.take_back(handle)

    def stream(self, handle: int, device: int) -> Stream:
        """A stream by its handle; 0 and 1 are the device's default stream."""
        if handle in (LEGACY, LEGACY_BY_NAME):
            return self._legacy[device]
        stream: Stream = self.lent(handle, Stream)
        return stream

    def lent(self, handle: int, kind: type) -> Any:
        """What a handle stands for. A handle of another kind, or one given back, would crash a real driver."""
        thing = self.handles.live.get(handle)
        if isinstance(thing, kind):
            return thing
        if thing is not None or handle in self.handles.returned:
            state = f"one of {type(thing).__name__}" if thing is not None else "given back before"
            raise Misuse(f"expected a handle of {kind.__name__}, got {handle:#x}, {state}")
        raise Refused("INVALID_HANDLE")

    def tail(self, stream: Stream) -> list[Operation]:
        """What new work in a stream must follow: its own, and by the rules of the default stream that of others."""
        if stream.is_legacy:
            others = [other for other in self._streams if other.blocking and other.device == stream.device]
        else:
            others = [self._legacy[stream.device]] if stream.blocking else []
        return [op for each in (stream, *others) for op in each.last]

    def submit(self, stream: Stream, work: Work) -> None:
        """Queue work, or record it where the stream is being captured."""
        with self.lock:
            self._forbid_implicit_capture(stream)
            if stream.capture:
                for use in work.uses:
                    self.memory.checked(*use, work.name)
                stream.capture.record(stream, work)
            else:
                stream.last = [self.scheduler.submit(work, stream.lane, self.tail(stream))]

    def survives_launch(self) -> bool:
        """Whether the context survives the kernel that executes."""
        if self.counters["launches"] == self._break_in:
            self.break_context(self._break_with)
        return self.broken is None

    def break_context(self, status: str) -> None:
        """A sticky error: no work is done from now on."""
        self.broken, self.scheduler.broken = status, True

    def injected(self, function: str) -> str | None:
        """The status that a test wants of this call."""
        failure = self._failures.get(function)
        if failure is None or failure.times == 0:
            return None
        if failure.calls_left:
            failure.calls_left -= 1
            return None
        failure.times -= 1
        return failure.status

    def forbid_unsafe_calls(self) -> None:
        """Allocations, frees and waits spoil captures that forbid them."""
        spoiled = [capture for capture in self.captures if capture.forbids_unsafe_calls()]
        self._spoil(spoiled, "STREAM_CAPTURE_UNSUPPORTED")

    def _forbid_implicit_capture(self, stream: Stream) -> None:
        """The default stream would have to wait for blocking streams that are being captured."""
        blocking = [each.capture for each in self._streams if each.blocking and each.capture]
        self._spoil(blocking if stream.is_legacy else [], "STREAM_CAPTURE_IMPLICIT")

    @staticmethod
    def _spoil(captures: Iterable[Capture], status: str) -> None:
        captures = list(captures)
        for capture in captures:
            capture.spoiled = True
        if captures:
            raise Refused(status)

    @property
    def contexts(self) -> list[int | None]:
        """The calling thread's stack of devices whose primary context is current."""
        if not hasattr(self._thread, "stack"):
            self._thread.stack = []
        stack: list[int | None] = self._thread.stack
        return stack

    def current_device(self) -> int:
        """The device whose context is current and alive."""
        device = self.contexts[-1] if self.contexts else None
        if device is None or not self.retained[device]:
            raise Refused("INVALID_CONTEXT")
        return device
