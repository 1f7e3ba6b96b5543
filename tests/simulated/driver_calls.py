"""How a simulated driver function is called: what holds for all of them, whatever they do."""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable
from typing import Any

from .machine import SimulatedCuda
from .misuse import Misuse, Refused

Method = Callable[..., Any]


def driver_call(outputs: int = 0, context: bool = True, unsafe: bool = False, survives: bool = False) -> Any:
    """Make a driver function of a method, which returns what the function answers beside its status.

    Args:
        outputs: how many values it answers; they are None where the call fails.
        context: whether the calling thread must have a current context.
        unsafe: whether stream capture may forbid it.
        survives: whether it still works after a sticky error.
    """

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def call(driver: DriverBase, *arguments: Any) -> tuple[Any, ...]:
            machine = driver.machine
            with machine.lock:
                machine.counters[method.__name__] += 1
                if not machine.has_driver:
                    raise RuntimeError("libcuda.so.1 was not found: there is no driver on this machine")
                try:
                    _check(machine, method.__name__, context, unsafe, survives)
                    machine.scheduler.tick()
                    values = method(driver, *arguments)
                    machine.scheduler.tick()
                    if machine.broken and not survives:
                        raise Refused(machine.broken)
                except Misuse as misuse:
                    machine.misuses.append(misuse)  # a finalizer's would go unnoticed
                    raise
                except Refused as refusal:
                    return (driver.status(refusal.name), *[None] * outputs)
                answers = values if outputs > 1 else (values,) * outputs
                return (driver.status("SUCCESS"), *answers)

        return call

    return decorate


def _check(machine: SimulatedCuda, name: str, context: bool, unsafe: bool, survives: bool) -> None:
    if machine.broken and not survives:
        raise Refused(machine.broken)
    # The end of a capture fails after it has ended, see graph_calls.py.
    injected = machine.injected(name) if name != "cuStreamEndCapture" else None
    if injected:
        raise Refused(injected)
    if not machine.initialised and name != "cuInit":
        raise Refused("NOT_INITIALIZED")
    if context:
        machine.current_device()
    if unsafe:
        machine.forbid_unsafe_calls()


class DriverBase:
    """The bindings' module: functions are simulated, enumerations, handle types and constants are the real ones."""

    def __init__(self, machine: SimulatedCuda):
        self.machine = machine
        self.real = importlib.import_module("cuda.bindings.driver")  # also while a simulation stands in its package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cu"):
            raise Misuse(f"the simulated driver has no {name}; add it to tests/simulated/")
        return getattr(self.real, name)

    def status(self, name: str) -> Any:
        return getattr(self.real.CUresult, "CUDA_SUCCESS" if name == "SUCCESS" else f"CUDA_ERROR_{name}")


def number(value: Any) -> int:
    """What the bindings take for a handle, an address or a size: an integer, None, or an object of theirs."""
    if value is None:
        return 0
    if type(value).__module__.startswith("cuda."):
        return int(value)
    return operator.index(value)
