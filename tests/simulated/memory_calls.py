"""The simulated driver's memory: allocation, copies, and what an address is.

Copies follow CUDA's page on API synchronisation behaviour. So a synchronous upload from pageable memory returns once
the source has been read; the bytes arrive on the default stream, for which a non-blocking stream does not wait.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .driver_calls import DriverBase, driver_call, number
from .machine import LEGACY, PRIMARY
from .memory import Allocation, device_pointer, host_pointer
from .misuse import Misuse, Refused
from .streams import Stream, Work

_MEMORY_TYPES = {"pinned": 1, "device": 2}  # CUmemorytype


class MemoryCalls(DriverBase):
    """Functions whose names begin with cuMem and cuPointer."""

    @driver_call(1, unsafe=True)
    def cuMemAlloc(self, nbytes: int) -> Any:
        return self.real.CUdeviceptr(self._allocated(nbytes, "device").address)

    @driver_call(unsafe=True)
    def cuMemFree(self, address: Any) -> None:
        self.machine.counters["implicit waits"] += 1
        self.machine.scheduler.wait_for_all()
        self._free(number(address), "device")

    @driver_call(1, unsafe=True)
    def cuMemHostAlloc(self, nbytes: int, flags: int) -> int:
        return host_pointer(self._allocated(nbytes, "pinned").address)

    @driver_call(unsafe=True)
    def cuMemFreeHost(self, pointer: Any) -> None:
        self._free(device_pointer(number(pointer)), "pinned")

    @driver_call(1)
    def cuMemHostGetDevicePointer(self, pointer: Any, flags: int) -> Any:
        address = device_pointer(number(pointer))
        if self.machine.memory.holding(address) is None:
            raise Refused("INVALID_VALUE")
        return self.real.CUdeviceptr(address)

    @driver_call(2)
    def cuMemGetInfo(self) -> tuple[int, int]:
        used = self.machine.bytes_alive(self.machine.current_device())
        return self.machine.capacity - used, self.machine.capacity

    @driver_call(1)
    def cuPointerGetAttribute(self, attribute: Any, address: Any) -> Any:
        found = self._known(number(address))
        kind = self.real.CUpointer_attribute
        values = {
            kind.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL.value: found.device,  # of pinned memory as well
            kind.CU_POINTER_ATTRIBUTE_CONTEXT.value: self.real.CUcontext(found.context or PRIMARY + found.device),
            kind.CU_POINTER_ATTRIBUTE_MEMORY_TYPE.value: _MEMORY_TYPES[found.kind],
            kind.CU_POINTER_ATTRIBUTE_RANGE_START_ADDR.value: found.address,
            kind.CU_POINTER_ATTRIBUTE_RANGE_SIZE.value: found.nbytes,
        }
        return values[attribute.value]

    @driver_call(unsafe=True)
    def cuMemcpyHtoD(self, target: Any, source: Any, nbytes: int) -> None:
        stream = self._default_stream()
        if self._upload(target, source, nbytes, stream):
            self._wait(stream)

    @driver_call()
    def cuMemcpyHtoDAsync(self, target: Any, source: Any, nbytes: int, stream: Any) -> None:
        self._upload(target, source, nbytes, self._stream(stream))

    @driver_call(unsafe=True)
    def cuMemcpyDtoH(self, target: Any, source: Any, nbytes: int) -> None:
        stream = self._default_stream()
        self._download(target, source, nbytes, stream)
        self._wait(stream)

    @driver_call()
    def cuMemcpyDtoHAsync(self, target: Any, source: Any, nbytes: int, stream: Any) -> None:
        if not self._download(target, source, nbytes, self._stream(stream)):
            self.machine.counters["pageable copies"] += 1
            self._wait(self._stream(stream))

    @driver_call()
    def cuMemcpyDtoD(self, target: Any, source: Any, nbytes: int) -> None:
        self._copy("DtoD", number(target), number(source), nbytes, self._default_stream())

    @driver_call()
    def cuMemcpyDtoDAsync(self, target: Any, source: Any, nbytes: int, stream: Any) -> None:
        self._copy("DtoD", number(target), number(source), nbytes, self._stream(stream))

    @driver_call()
    def cuMemsetD8Async(self, target: Any, value: int, nbytes: int, stream: Any) -> None:
        address = number(target)

        def fill() -> None:
            self.machine.memory.view(address, (nbytes,), "u1", writes=True)[:] = value

        self.machine.submit(self._stream(stream), Work("memset", fill, ((address, nbytes),)))

    def _allocated(self, nbytes: int, kind: str) -> Allocation:
        if number(nbytes) < 1:
            raise Refused("INVALID_VALUE")
        return self.machine.allocate(number(nbytes), kind, self.machine.current_device(), "runtime")

    def _free(self, address: int, kind: str) -> None:
        found = self.machine.memory.at(address)
        if found is None or found.kind != kind:
            raise Misuse(f"free of {address:#x}, which is not the start of live {kind} memory")
        if found.pending:
            raise Misuse(f"free of {kind} memory that queued work uses")
        self.machine.memory.free(address)

    def _known(self, address: int) -> Allocation:
        memory = self.machine.memory
        found = memory.holding(address) or memory.holding(device_pointer(address))
        if found is None:
            raise Refused("INVALID_VALUE")
        return found

    def _pinned(self, pointer: int, nbytes: int) -> int | None:
        """The device address of pinned memory; None for pageable memory."""
        memory = self.machine.memory
        if memory.holding(pointer):
            raise Misuse(f"{pointer:#x} is device memory, and the copy takes it for the host's")
        found = memory.holding(device_pointer(pointer))
        if found is None:
            return None
        memory.checked(device_pointer(pointer), nbytes, "copy of pinned memory")
        return device_pointer(pointer)

    def _upload(self, target: Any, source: Any, nbytes: int, stream: Stream) -> bool:
        """Queue a copy to the device; whether its source is pinned."""
        pointer = _pointer(source)
        pinned = self._pinned(pointer, nbytes)
        if pinned is not None:
            self._copy("HtoD", number(target), pinned, nbytes, stream)
            return True
        if stream.capture:
            raise Misuse("a copy from pageable memory in a captured stream")
        self.machine.counters["pageable copies"] += 1
        self._wait(stream)
        staged = np.frombuffer(ctypes.string_at(pointer, nbytes), np.uint8)
        self._write("HtoD", number(target), staged, stream)
        return False

    def _download(self, target: Any, source: Any, nbytes: int, stream: Stream) -> bool:
        """Queue a copy to the host; whether its target is pinned."""
        pointer, address = _pointer(target), number(source)
        pinned = self._pinned(pointer, nbytes)
        if pinned is not None:
            self._copy("DtoH", pinned, address, nbytes, stream)
            return True
        if stream.capture:
            raise Misuse("a copy to pageable memory in a captured stream")

        def run() -> None:
            ctypes.memmove(pointer, self.machine.memory.view(address, (nbytes,), "u1").tobytes(), nbytes)
            self._count("DtoH", nbytes)

        self.machine.submit(stream, Work("DtoH", run, ((address, nbytes),)))
        return False

    def _copy(self, kind: str, target: int, source: int, nbytes: int, stream: Stream) -> None:
        def run() -> None:
            memory = self.machine.memory
            memory.view(target, (nbytes,), "u1", writes=True)[:] = memory.view(source, (nbytes,), "u1")
            self._count(kind, nbytes)

        uses = ((source, nbytes), (target, nbytes))
        self._check_devices(kind, uses)
        self.machine.submit(stream, Work(kind, run, uses, source=kind == "HtoD", target=kind == "DtoH"))

    def _write(self, kind: str, target: int, staged: Any, stream: Stream) -> None:
        def run() -> None:
            self.machine.memory.view(target, staged.shape, "u1", writes=True)[:] = staged
            self._count(kind, staged.size)

        self.machine.submit(stream, Work(kind, run, ((target, staged.size),)))

    def _check_devices(self, kind: str, uses: tuple[tuple[int, int], ...]) -> None:
        ends = [self.machine.memory.checked(*use, kind) for use in uses]
        expected = {"HtoD": ["pinned", "device"], "DtoH": ["device", "pinned"], "DtoD": ["device", "device"]}[kind]
        if [end.kind for end in ends] != expected:
            raise Misuse(f"a {kind} copy from {ends[0].kind} to {ends[1].kind} memory")

    def _count(self, kind: str, nbytes: int) -> None:
        self.machine.counters[kind] += 1
        self.machine.counters[f"{kind} bytes"] += nbytes

    def _default_stream(self) -> Stream:
        return self._stream(LEGACY)

    def _stream(self, handle: Any) -> Stream:
        return self.machine.stream(number(handle), self.machine.current_device())

    def _wait(self, stream: Stream) -> None:
        self.machine.counters["implicit waits"] += 1
        self.machine.scheduler.wait(self.machine.tail(stream))


def _pointer(host: Any) -> int:
    """The address of host memory, given as such or as a buffer."""
    return (
        np.frombuffer(host, np.uint8).ctypes.data if isinstance(host, bytes | bytearray | memoryview) else number(host)
    )
