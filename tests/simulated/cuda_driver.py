"""The simulated CUDA driver: an object with the attributes of `cuda.bindings.driver`.

    with simulated_cuda(monkeypatch, mode="lazy", sm=89) as gpu:
        ...  # fcnrt.gpu.cuda talks to the simulation

Every handle, address, status and argument is checked as far as CUDA's documentation tells what a driver does with it.
A call that a driver would answer with an error gets that status; one that it would answer with undefined behaviour
ends the test (`Misuse`). See memory.py, streams.py and graphs.py for what is simulated, machine.py for what is not
proved.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .driver_calls import DriverBase, driver_call, number
from .graph_calls import GraphCalls
from .kernel_calls import KernelCalls
from .machine import PRIMARY, SimulatedCuda
from .memory_calls import MemoryCalls
from .misuse import Misuse, Refused
from .stream_calls import StreamCalls

_NAME = b"Simulated GPU"


class SimulatedDriver(MemoryCalls, StreamCalls, GraphCalls, KernelCalls, DriverBase):
    """Devices and contexts; the rest is inherited."""

    @driver_call(context=False)
    def cuInit(self, flags: int) -> None:
        if not self.machine.devices:
            raise Refused("NO_DEVICE")
        self.machine.initialised = True

    @driver_call(1, context=False, survives=True)
    def cuDriverGetVersion(self) -> int:
        return 13000

    @driver_call(1, context=False, survives=True)
    def cuDeviceGetCount(self) -> int:
        return self.machine.devices

    @driver_call(1, context=False, survives=True)
    def cuDeviceGet(self, ordinal: int) -> Any:
        if not 0 <= ordinal < self.machine.devices:
            raise Refused("INVALID_DEVICE")
        return self.real.CUdevice(ordinal)

    @driver_call(1, context=False, survives=True)
    def cuDeviceGetName(self, length: int, device: Any) -> bytes:
        return _NAME[: length - 1].ljust(length, b"\0")

    @driver_call(1, context=False, survives=True)
    def cuDeviceTotalMem(self, device: Any) -> int:
        return self.machine.capacity

    @driver_call(1, context=False, survives=True)
    def cuDeviceGetAttribute(self, attribute: Any, device: Any) -> int:
        kind = self.real.CUdevice_attribute
        known = {
            kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: self.machine.sm // 10,
            kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: self.machine.sm % 10,
        }
        if attribute not in known:
            raise Misuse(f"the simulated device has no attribute {attribute}; add it to tests/simulated/")
        return known[attribute]

    @driver_call(1, context=False, survives=True)
    def cuDevicePrimaryCtxRetain(self, device: Any) -> Any:
        self.machine.retained[number(device)] += 1
        return self.real.CUcontext(PRIMARY + number(device))

    @driver_call(context=False, survives=True)
    def cuDevicePrimaryCtxRelease(self, device: Any) -> None:
        if not self.machine.retained[number(device)]:
            raise Refused("INVALID_CONTEXT")
        self.machine.retained[number(device)] -= 1

    @driver_call(context=False, survives=True)
    def cuCtxPushCurrent(self, context: Any) -> None:
        self.machine.contexts.append(self._device_of(context))

    @driver_call(context=False, survives=True)
    def cuCtxSetCurrent(self, context: Any) -> None:
        self.machine.contexts[-1:] = [self._device_of(context)]

    @driver_call(1, context=False, survives=True)
    def cuCtxPopCurrent(self) -> Any:
        if not self.machine.contexts:
            raise Refused("INVALID_CONTEXT")
        device = self.machine.contexts.pop()
        return self.real.CUcontext(0 if device is None else PRIMARY + device)

    @driver_call(1, context=False, survives=True)
    def cuCtxGetCurrent(self) -> Any:
        device = self.machine.contexts[-1] if self.machine.contexts else None
        return self.real.CUcontext(0 if device is None else PRIMARY + device)

    def _device_of(self, context: Any) -> int:
        device = number(context) - PRIMARY
        if not 0 <= device < self.machine.devices or not self.machine.retained[device]:
            raise Refused("INVALID_CONTEXT")
        return device

    @driver_call(unsafe=True)
    def cuCtxSynchronize(self) -> None:
        self.machine.counters["waits"] += 1
        self.machine.scheduler.wait_for_all()


class TypedDriver(SimulatedDriver):
    """A simulated driver that lets the real bindings look at the arguments first.

    Without a driver to call, they convert what they are given and then raise RuntimeError; what they cannot convert is
    a TypeError or OverflowError, here as there. Only for machines without a driver.
    """

    def __getattribute__(self, name: str) -> Any:
        simulated = super().__getattribute__(name)
        if not name.startswith("cu"):
            return simulated

        def typed(*arguments: Any) -> Any:
            with contextlib.suppress(RuntimeError):
                getattr(self.real, name)(*arguments)
            return simulated(*arguments)

        return typed


def has_real_driver() -> bool:
    """Whether this machine has a CUDA driver, which the typed simulation must not call."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def simulated_cuda(
    monkeypatch: pytest.MonkeyPatch, mode: str = "lazy", sm: int = 89, *, typed: bool = False, **options: Any
) -> Iterator[SimulatedCuda]:
    """Put a simulated driver where `cuda.bindings` is asked for one.

    At the end, work that cannot be done, a misuse that nobody saw, and whatever was not given back fail the test; what
    the block still holds counts as well, so a test that keeps arrays or Segmenters is better off with `simulations`.

    Args:
        mode: "lazy", "eager" or "random", see streams.py.
        sm: compute capability of the devices.
        typed: whether the real bindings check the arguments' types, where there is no real driver.
        options: further arguments of SimulatedCuda.
    """
    import cuda.bindings

    machine = SimulatedCuda(mode, sm, **options)
    kind = TypedDriver if typed and not has_real_driver() else SimulatedDriver
    machine.driver = driver = kind(machine)
    monkeypatch.setattr(cuda.bindings, "driver", driver)
    yield machine
    if hasattr(sys, "last_value"):  # the test failed: its objects live in the traceback
        return
    try:
        machine.check()
    except Misuse as error:  # which pytest, winding up fixtures, takes for its own end
        pytest.fail(str(error))


@contextlib.contextmanager
def simulations(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """For a fixture: a function like `simulated_cuda`, whose checks come when the test has let go of its objects."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(simulated_cuda(monkeypatch, *arguments, **options))
        request.node.funcargs.clear()  # pytest keeps what fixtures gave until the very end
