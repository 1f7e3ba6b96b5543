"""The simulated driver's modules and kernel launches."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, field
from typing import Any

from .driver_calls import DriverBase, driver_call, number
from .kernels import Kernel, Module
from .memory import Use
from .misuse import Misuse, Refused
from .streams import Work

_GRID_LIMITS = (2**31 - 1, 65535, 65535)
_BLOCK_LIMIT = 1024
_SHARED_LIMIT = 48 << 10  # bytes that a kernel gets without asking for more
_SCRATCH_POINTERS = 2
_TYPES = {"i32": ctypes.c_int32, "i64": ctypes.c_int64, "fp32": ctypes.c_float}


@dataclass(eq=False)
class Function:
    """A kernel in a loaded module."""

    module: int
    kernel: Kernel
    owner: str = "module"  # nobody gives it back
    attributes: dict[int, int] = field(default_factory=dict)


class KernelCalls(DriverBase):
    """Functions whose names begin with cuModule, cuFunc and cuLaunch."""

    @driver_call(1)
    def cuModuleLoadData(self, image: Any) -> Any:
        self.machine.current_device()
        module = self.machine.kernels.load(bytes(image), self.machine.sm)
        return self.real.CUmodule(self.machine.handles.lend(module))

    @driver_call()
    def cuModuleUnload(self, module: Any) -> None:
        self.machine.lent(number(module), Module)
        for handle, thing in list(self.machine.handles.live.items()):
            if isinstance(thing, Function) and thing.module == number(module):
                self.machine.handles.take_back(handle)
        self.machine.handles.take_back(number(module))

    @driver_call(1)
    def cuModuleGetFunction(self, module: Any, name: bytes) -> Any:
        found: Module = self.machine.lent(number(module), Module)
        if name.decode() not in found.kernels:
            raise Refused("NOT_FOUND")
        function = Function(number(module), found.kernels[name.decode()])
        return self.real.CUfunction(self.machine.handles.lend(function))

    @driver_call()
    def cuFuncSetAttribute(self, function: Any, attribute: Any, value: int) -> None:
        self.machine.lent(number(function), Function).attributes[attribute.value] = number(value)

    @driver_call()
    def cuLaunchKernel(self, function: Any, *rest: Any) -> None:
        *dimensions, shared_bytes, stream, packed, _extra = rest
        found: Function = self.machine.lent(number(function), Function)
        grid, block = dimensions[:3], dimensions[3:]
        self._check_launch(found, grid, block, shared_bytes)
        arguments = self._unpacked(found.kernel, packed)
        pointers = tuple(
            (value, 1)
            for value, kind in zip(arguments, found.kernel.parameters, strict=True)
            if kind[0] == "*" and value
        )
        run = functools.partial(self._execute, number(function), found, tuple(grid), arguments)
        target = self.machine.stream(number(stream), self.machine.current_device())
        self.machine.submit(target, Work(found.kernel.name, run, pointers))

    def _reach(self, pointer: int, kernel: Kernel) -> Use:
        """What a kernel may use by a pointer: nobody knows, so everything behind it."""
        allocation = self.machine.memory.checked(pointer, 1, kernel.name)
        return pointer, allocation.address + allocation.nbytes - pointer

    def _execute(self, handle: int, function: Function, grid: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        if self.machine.handles.live.get(handle) is not function:
            raise Misuse(f"{function.kernel.name}: its module was unloaded before the kernel executed")
        self.machine.counters["launches"] += 1
        if self.machine.survives_launch():
            function.kernel.function(grid, *arguments)

    def _check_launch(self, function: Function, grid: list[int], block: list[int], shared_bytes: int) -> None:
        limit = self.real.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.value
        too_large = any(not 0 < size <= most for size, most in zip(grid, _GRID_LIMITS, strict=True))
        threads = block[0] * block[1] * block[2]
        if too_large or not 0 < threads <= _BLOCK_LIMIT:
            raise Refused("INVALID_VALUE")
        if shared_bytes > function.attributes.get(limit, _SHARED_LIMIT):
            raise Refused("INVALID_VALUE")
        if function.kernel.threads not in (None, threads):
            raise Misuse(
                f"{function.kernel.name}: compiled for {function.kernel.threads} threads, launched with {threads}"
            )

    def _unpacked(self, kernel: Kernel, packed: Any) -> tuple[Any, ...]:
        """The arguments as the kernel reads them: converted as the bindings do, and of its own types."""
        self.real._HelperKernelParams(packed)  # raises what the bindings raise
        values, types = packed
        expected = [_TYPES.get(name, ctypes.c_void_p) for name in kernel.parameters]
        if list(types) != expected + [ctypes.c_void_p] * _SCRATCH_POINTERS:
            raise Misuse(f"{kernel.name}: takes {kernel.parameters} and two scratch pointers, got {types}")
        if any(values[len(expected) :]):
            raise Misuse(f"{kernel.name}: scratch pointers that are not null")
        pairs = list(zip(values, expected, strict=False))
        if any(kind is ctypes.c_void_p and not isinstance(value, int) for value, kind in pairs):
            raise Misuse(
                f"{kernel.name}: pointers are passed as integers"
            )  # of others the bindings pass their own address
        return tuple(int(value) if kind is ctypes.c_void_p else kind(value).value for value, kind in pairs)
