"""Numbers that are too small for a normal float count as 0 while an engine computes in the caller's thread.

Some processors take a hundred times as long for them. ONNX Runtime sees to that in threads of its own, but the caller's
computes too, with as large a share as each of those.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
import sys
from collections.abc import Iterator
from typing import Any

# By processor: where C's fenv_t has the register that controls this, and the bits: FTZ and DAZ of MXCSR, FZ of FPCR.
_REGISTERS = {"x86_64": (28, 1 << 15 | 1 << 6), "aarch64": (0, 1 << 24)}
_SIZE = 64  # bytes; no fenv_t is larger


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """While the block runs, denormals of this thread are 0; as they were, where nobody knows how."""
    library = _library()
    if library is None:
        yield
        return
    offset, bits = _REGISTERS[platform.machine()]
    before = ctypes.create_string_buffer(_SIZE)
    library.fegetenv(before)
    flushed = ctypes.create_string_buffer(before.raw, _SIZE)
    register = ctypes.c_uint32.from_buffer(flushed, offset)
    register.value |= bits
    library.fesetenv(flushed)
    try:
        yield
    finally:
        library.fesetenv(before)


@functools.cache
def _library() -> Any:
    """C's functions, called without letting other threads in between; None where they are not to be had."""
    if sys.platform != "linux" or platform.machine() not in _REGISTERS:
        return None
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.PyDLL(None)
        return library if library.fegetenv and library.fesetenv else None
    return None
