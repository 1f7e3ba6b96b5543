"""A program that calls the simulated driver by itself, for tests of the simulation."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver as bindings

from .cuda_driver import SimulatedDriver
from .machine import SimulatedCuda

NON_BLOCKING, BLOCKING = 1, 0  # flags of cuStreamCreate


class Program:
    """A program's calls of the driver, in the context of device 0."""

    def __init__(self, machine: SimulatedCuda):
        self.machine, self.driver = machine, SimulatedDriver(machine)
        for function, *arguments in (("cuInit", 0), ("cuDeviceGet", 0)):
            self(function, *arguments)
        self("cuCtxPushCurrent", self("cuDevicePrimaryCtxRetain", 0))

    def __call__(self, function: str, *arguments: Any) -> Any:
        """What a call answers beside its status, which must be success."""
        status, *values = getattr(self.driver, function)(*arguments)
        assert status == bindings.CUresult.CUDA_SUCCESS, (function, status)
        return values[0] if len(values) == 1 else values

    def status(self, function: str, *arguments: Any) -> str:
        """The name of what a call answers, without its prefix."""
        name: str = getattr(self.driver, function)(*arguments)[0].name
        return name.removeprefix("CUDA_").removeprefix("ERROR_")

    def stream(self, flags: int = NON_BLOCKING) -> Any:
        return self("cuStreamCreate", flags)

    def memory(self, nbytes: int = 16) -> int:
        return int(self("cuMemAlloc", nbytes))

    def pinned(self, values: Sequence[int]) -> tuple[int, npt.NDArray[np.uint8]]:
        """Pointer to pinned memory that holds bytes, and the array there."""
        pointer = self("cuMemHostAlloc", len(values), bindings.CU_MEMHOSTALLOC_DEVICEMAP)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * len(values)).from_address(pointer))
        array[:] = values
        return pointer, array

    def write(self, address: int, value: int, stream: Any, nbytes: int = 16) -> None:
        """Queue a fill."""
        self("cuMemsetD8Async", address, value, nbytes, stream)

    def content(self, address: int, nbytes: int = 16) -> list[int]:
        """The bytes as they are, without waiting for anything."""
        values: list[int] = self.machine.read(address, (nbytes,), np.uint8).tolist()
        return values

    def record(self, stream: Any) -> Any:
        """A new event at the end of a stream."""
        event = self("cuEventCreate", 0)
        self("cuEventRecord", event, stream)
        return event

    def wait(self, stream: Any, event: Any) -> None:
        self("cuStreamWaitEvent", stream, event, 0)
