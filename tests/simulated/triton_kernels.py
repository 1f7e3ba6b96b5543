"""The real Triton kernels of fcn_export.kernels in the simulation, run by Triton's interpreter on the CPU.

Every load and store is checked: it must lie in one of the arrays that the interface gives the kernel.

Not proved: what the compiler makes of the kernels. The interpreter's integers are as wide as their values need, where
compiled code has the declared width, and its multiply-add rounds twice.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fcn_export.kernels import compiling

from .kernel_functions import Grid, bound
from .kernels import KernelFunction
from .memory import Memory, host_pointer
from .misuse import Misuse

_SOURCE = Path(compiling.__file__).with_name("gpu_kernels.py")


def interpreted_kernel(memory: Memory, variant: compiling.Variant) -> KernelFunction:
    """The function of a kernel's variant, for `kernel_records` and `run_records`; skips where it cannot be run."""
    pytest.importorskip("torch")
    pytest.importorskip("triton")
    return functools.partial(_run, memory, variant)


def _run(memory: Memory, variant: compiling.Variant, grid: Grid, *arguments: Any) -> None:
    given = bound(memory, variant, grid, arguments)
    arrays = [array for array in vars(given).values() if isinstance(array, np.ndarray)]
    tensors = [
        _tensor(value, kind) if kind.startswith("*") else value
        for value, kind in zip(arguments, variant.parameters, strict=True)
    ]
    with _checked(arrays), np.errstate(invalid="ignore", over="ignore"):
        getattr(interpreted_kernels(), variant.kernel)[grid](*tensors, **variant.constants)


def _tensor(address: int, kind: str) -> Any:
    """A tensor of the first element at this address: the interpreter takes its place, and no notice of its extent."""
    torch = pytest.importorskip("torch")
    dtype = np.dtype({"*fp32": "f4", "*fp16": "f2", "*u8": "u1", "*u16": "u2", "*i32": "i4"}[kind])
    if not address:
        return torch.empty(0, dtype=getattr(torch, dtype.name))
    element = (ctypes.c_uint8 * dtype.itemsize).from_address(host_pointer(address))
    return torch.frombuffer(element, dtype=getattr(torch, dtype.name))


@contextmanager
def _checked(arrays: list[npt.NDArray[Any]]) -> Iterator[None]:
    """Let loads and stores look at their addresses first."""
    from triton.runtime import interpreter

    ranges = [np.lib.array_utils.byte_bounds(array) for array in arrays]
    builder = type(interpreter.interpreter_builder)

    def guarded(name: str, mask_position: int) -> Any:
        original = getattr(builder, name)

        def access(self: Any, pointers: Any, *rest: Any) -> Any:
            addresses = pointers.data[np.broadcast_to(rest[mask_position].data, pointers.data.shape)]
            inside = [(low <= addresses) & (addresses < high) for low, high in ranges]
            if not np.any(inside, axis=0).all():
                raise Misuse(f"a kernel's {name} outside of its arrays")
            return original(self, pointers, *rest)

        return access

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "create_masked_load", guarded("create_masked_load", 0))
        patch.setattr(builder, "create_masked_store", guarded("create_masked_store", 1))
        yield


@functools.cache
def interpreted_kernels() -> ModuleType:
    """gpu_kernels.py once more: whether a kernel is interpreted is settled when it is decorated."""
    pytest.importorskip("triton")
    spec = importlib.util.spec_from_file_location("interpreted_gpu_kernels", _SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(module)
    return module
