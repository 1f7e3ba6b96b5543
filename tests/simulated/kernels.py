"""Simulated machine code: the bytes of a cubin stand for a Python function.

A kernel is called as `function(grid, *arguments)`, pointers as device addresses, once its launch executes; it reaches
memory by `Memory.view`, which checks bounds and notes races.

Not proved: anything about the machine code itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .memory import Memory
from .misuse import Refused

KernelFunction = Callable[..., None]


@dataclass(eq=False)
class Kernel:
    """A function in a module.

    Attributes:
        name: its symbol.
        parameters: Triton's names of its arguments' types, without the two scratch pointers.
        threads: of a block; None where any number will do.
    """

    name: str
    function: KernelFunction
    parameters: tuple[str, ...]
    threads: int | None = None


@dataclass(eq=False)
class Module:
    """A loaded cubin."""

    kernels: dict[str, Kernel]


@dataclass(frozen=True)
class _Cubin:
    sm: int | None
    kernels: dict[str, Kernel]


class KernelRegistry:
    """The cubins that a simulation knows."""

    def __init__(self, memory: Memory):
        self.memory = memory
        self._cubins: dict[bytes, _Cubin] = {}

    def register(self, cubin: bytes, entry: str, function: KernelFunction, parameters: tuple[str, ...],
                 threads: int | None = None, sm: int | None = None) -> None:  # fmt: skip
        """Let a symbol of a cubin stand for a function; `sm` is the generation it is for, None for any."""
        known = self._cubins.get(cubin, _Cubin(sm, {}))
        known.kernels[entry] = Kernel(entry, function, tuple(parameters), threads)
        self._cubins[cubin] = known

    def load(self, cubin: bytes, sm: int) -> Module:
        """The module of a cubin for this generation; otherwise the driver's status."""
        known = self._cubins.get(cubin)
        if known is None:
            raise Refused("INVALID_IMAGE")
        if known.sm not in (None, sm):
            raise Refused("NO_BINARY_FOR_GPU")
        return Module(known.kernels)
