"""The CUDA driver: memory, streams, events, graphs and kernels of one device. The only importer of CUDA's bindings.

Everything lives in the device's primary context, the one that TensorRT, ONNX Runtime, torch and CuPy use, so that
their arrays are ours and ours are theirs. Calls are made inside `with gpu.current():`; what the driver lends is given
back when it is closed or forgotten, in any thread.

The plain driver API rather than a layer above it: every call answers with a status that one function checks, and the
whole of it is small enough to be simulated, which is how this module is tested where there is no GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BackendError, MissingDependency, UsageError, pip_install

LEGACY_STREAM = 0  # the default stream of torch, CuPy and PyCUDA
ALIGNMENT = 256  # bytes, of everything that the driver allocates

# After these a context answers every call with the same error, whatever is asked.
_STICKY = {
    "ASSERT",
    "ECC_UNCORRECTABLE",
    "HARDWARE_STACK_ERROR",
    "ILLEGAL_ADDRESS",
    "ILLEGAL_INSTRUCTION",
    "INVALID_ADDRESS_SPACE",
    "INVALID_PC",
    "LAUNCH_FAILED",
    "LAUNCH_TIMEOUT",
    "MISALIGNED_ADDRESS",
}
# CUDA does not say that these wait for work that still uses what they take away.
_UNAWARE = {"cuMemFreeHost", "cuModuleUnload"}
_ARGUMENT_TYPES = {"i32": ctypes.c_int32, "i64": ctypes.c_int64, "fp32": ctypes.c_float}  # by Triton's names
_SCRATCH_POINTERS = 2  # that Triton's kernels take after their own arguments; ours use neither


class Gpu:
    """A CUDA device through its primary context.

    Attributes:
        index: the device's number.
        name: what its driver calls it.
        sm: its compute capability as Triton and TensorRT write it, 89 for 8.9.
        capability: the same as people write it, "8.9".

    Raises:
        MissingDependency: cuda-bindings is not installed.
        BackendError: there is no driver, or no such device.
    """

    def __init__(self, index: int = 0):
        self.index = index
        self.driver = _driver()
        count = device_count()
        if index >= count:
            others = f"this machine has {count} GPU{'s'[: count != 1]}" if count else "no NVIDIA GPU or driver here"
            raise BackendError(f"device 'cuda:{index}': {others}; models as .onnx files run on the CPU as well")
        device = self.call("cuDeviceGet", index)
        self.name = bytes(self.call("cuDeviceGetName", 128, device)).split(b"\0")[0].decode()
        kind = self.driver.CUdevice_attribute
        major = self.call("cuDeviceGetAttribute", kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
        minor = self.call("cuDeviceGetAttribute", kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
        self.sm, self.capability = 10 * int(major) + int(minor), f"{int(major)}.{int(minor)}"
        self._context = self.call("cuDevicePrimaryCtxRetain", device)
        _finalize(self, self.driver.cuDevicePrimaryCtxRelease, device)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make this device's context the calling thread's; afterwards the thread has its own again."""
        self.call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self.driver.cuCtxPopCurrent()

    def call(self, function: str, *arguments: Any) -> Any:
        """Call the driver: the one place where its status is checked.

        Returns:
            What the driver answers beside the status: nothing, a value, or a tuple of several.

        Raises:
            BackendError: the status is not success.
        """
        status, *values = getattr(self.driver, function)(*arguments)
        if int(status):
            raise BackendError(self._explained(function, status))
        return values[0] if len(values) == 1 else tuple(values)

    def uploaded(self, array: npt.NDArray[Any]) -> Memory:
        """New device memory that holds a copy of a host array; waits for the copy."""
        source = np.ascontiguousarray(array)
        memory = Memory(self, source.nbytes)
        self.call("cuMemcpyHtoD", memory.address, source.ctypes.data, source.nbytes)
        # That returns once the source has been read; streams of ours do not wait for the default one to arrive.
        self.call("cuStreamSynchronize", LEGACY_STREAM)
        return memory

    def downloaded(self, address: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """A new host array with a copy of device memory, whose writers must be done; waits for the copy."""
        array = np.empty(shape, dtype)
        self.call("cuMemcpyDtoH", array.ctypes.data, address, array.nbytes)
        return array

    def synchronize(self) -> None:
        """Wait on the host for everything on the device."""
        self.call("cuCtxSynchronize")

    def captured(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """What `work` enqueues on `stream`, recorded instead of run.

        Raises:
            BackendError: something in it cannot be captured; the stream is usable again.
        """
        mode = self.driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL  # other threads may allocate
        self.call("cuStreamBeginCapture", stream.handle, mode)
        try:
            work()
        except BaseException:
            status, half = self.driver.cuStreamEndCapture(stream.handle)
            if not int(status):
                self.driver.cuGraphDestroy(half)
            raise
        template = self.call("cuStreamEndCapture", stream.handle)
        try:
            return Graph(self, self.call("cuGraphInstantiate", template, 0))
        finally:
            self.driver.cuGraphDestroy(template)

    def memory_info(self) -> tuple[int, int]:
        """Bytes of the device's memory: free, and in all."""
        free, total = self.call("cuMemGetInfo")
        return int(free), int(total)

    def holds(self, address: int) -> bool:
        """Whether an address is memory that this context reaches: of this device, and of no other context on it."""
        kind = self.driver.CUpointer_attribute
        status, ordinal = self.driver.cuPointerGetAttribute(kind.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address)
        if int(status) or int(ordinal) != self.index:
            return False
        status, context = self.driver.cuPointerGetAttribute(kind.CU_POINTER_ATTRIBUTE_CONTEXT, address)
        return bool(int(status)) or int(context) in (0, int(self._context))  # memory of pools has none

    def out_of_memory(self) -> str:
        """What to say where there is too little memory."""
        status, *sizes = self.driver.cuMemGetInfo()
        left = "" if int(status) else " ({:.0f} of {:.0f} MiB free)".format(*(int(size) / 2**20 for size in sizes))
        return f"cuda:{self.index}: out of memory{left}; use smaller frames or batches, or free some"

    def give_back(self, function: str, handle: Any) -> None:
        """Return a handle to the driver, in whatever thread; nobody is left to hear of a failure."""
        if int(self.driver.cuCtxPushCurrent(self._context)[0]) == 0:
            if function in _UNAWARE:
                self.driver.cuCtxSynchronize()
            getattr(self.driver, function)(handle)
            self.driver.cuCtxPopCurrent()

    def _explained(self, function: str, status: Any) -> str:
        name = str(getattr(status, "name", status)).removeprefix("CUDA_ERROR_")
        if name == "OUT_OF_MEMORY":
            return self.out_of_memory()
        if name in _STICKY:
            return f"cuda:{self.index}: {name} broke this process's CUDA context for good; restart the program"
        return f"cuda:{self.index}: {function} failed with {name}"


class _Lent:
    """Something of the driver's, given back when it is closed or forgotten."""

    def __init__(self, gpu: Gpu, handle: Any, destroyer: str):
        self.gpu = gpu
        self.close: Callable[[], Any] = _finalize(self, gpu.give_back, destroyer, handle)


class Memory(_Lent):
    """Uninitialised device memory: its `address`, aligned to 256 bytes, and its `nbytes`."""

    def __init__(self, gpu: Gpu, nbytes: int):
        handle = gpu.call("cuMemAlloc", max(nbytes, 1))
        super().__init__(gpu, handle, "cuMemFree")
        self.address, self.nbytes = int(handle), nbytes


class PinnedMemory(_Lent):
    """Host memory that the GPU copies without the CPU's help: its `array`, uint8 (nbytes,), and its `address`."""

    def __init__(self, gpu: Gpu, nbytes: int):
        flags = gpu.driver.CU_MEMHOSTALLOC_PORTABLE | gpu.driver.CU_MEMHOSTALLOC_DEVICEMAP
        self.address = int(gpu.call("cuMemHostAlloc", max(nbytes, 1), flags))
        super().__init__(gpu, self.address, "cuMemFreeHost")
        self.nbytes = nbytes
        self.array = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(self.address))

    @property
    def device_address(self) -> int:
        """Where kernels reach it."""
        return int(self.gpu.call("cuMemHostGetDevicePointer", self.address, 0))


class Stream:
    """A queue of work on a device: a new one, or by its `handle` one that the caller made."""

    def __init__(self, gpu: Gpu, handle: int | None = None):
        self._gpu = gpu
        self._lent = None
        if handle is None:
            made = gpu.call("cuStreamCreate", gpu.driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
            self._lent, handle = _Lent(gpu, made, "cuStreamDestroy"), int(made)
        self.handle = handle

    def wait(self, event: Event) -> None:
        """Hold the work that follows until the work before `event` is done; the host goes on."""
        self._gpu.call("cuStreamWaitEvent", self.handle, event.handle, 0)

    def upload(self, source: PinnedMemory, target: Memory, nbytes: int, first: int = 0) -> None:
        """Enqueue a copy of `nbytes` from byte `first` on to the same place on the device."""
        self._gpu.call("cuMemcpyHtoDAsync", target.address + first, source.address + first, nbytes, self.handle)

    def download(self, source: Memory, target: PinnedMemory, nbytes: int) -> None:
        """Enqueue a copy of the first `nbytes` to the host."""
        self._gpu.call("cuMemcpyDtoHAsync", target.address, source.address, nbytes, self.handle)

    def synchronize(self) -> None:
        """Wait on the host for all work so far."""
        self._gpu.call("cuStreamSynchronize", self.handle)


class Event:
    """A point in a stream that other streams and the host can wait for."""

    def __init__(self, gpu: Gpu):
        self._gpu = gpu
        self.handle = gpu.call("cuEventCreate", gpu.driver.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        self._lent = _Lent(gpu, self.handle, "cuEventDestroy")

    def record(self, stream: Stream) -> None:
        """Move the event to the end of a stream's work so far."""
        self._gpu.call("cuEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        """Wait on the host; at once where nothing was recorded."""
        self._gpu.call("cuEventSynchronize", self.handle)


class Graph(_Lent):
    """Captured work that is launched as one."""

    def __init__(self, gpu: Gpu, handle: Any):
        super().__init__(gpu, handle, "cuGraphExecDestroy")
        self._handle = handle

    def launch(self, stream: Stream) -> None:
        """Enqueue the work."""
        self.gpu.call("cuGraphLaunch", self._handle, stream.handle)


class Kernel(_Lent):
    """A Triton kernel, compiled ahead of time.

    Args:
        cubin: machine code for this device's generation.
        entry: the kernel's symbol in it.
        threads: in a block.
        shared_bytes: dynamic shared memory of a block.
        parameters: Triton's names of the arguments' types: "*u8" and the like for pointers, "i32", "i64", "fp32".

    Raises:
        BackendError: the driver refuses the cubin.
    """

    def __init__(self, gpu: Gpu, cubin: bytes, entry: str, threads: int, shared_bytes: int, parameters: Sequence[str]):
        module = gpu.call("cuModuleLoadData", cubin)
        super().__init__(gpu, module, "cuModuleUnload")
        self._function = gpu.call("cuModuleGetFunction", module, entry.encode())
        self._threads, self._shared_bytes = threads, shared_bytes
        own = [ctypes.c_void_p if name.startswith("*") else _ARGUMENT_TYPES[name] for name in parameters]
        self._types = (*own, *[ctypes.c_void_p] * _SCRATCH_POINTERS)

    def launch(self, stream: Stream, grid: tuple[int, int, int], *arguments: int | float) -> None:
        """Enqueue the kernel on a grid of blocks; pointers are device addresses."""
        values = (*arguments, *[0] * _SCRATCH_POINTERS)
        if len(values) != len(self._types):
            own = len(self._types) - _SCRATCH_POINTERS
            raise BackendError(
                f"a kernel beside the engine takes {own} arguments, expected {len(arguments)}; "
                "its sidecar was changed, build the engine again"
            )
        packed = (values, self._types)
        block = (self._threads, 1, 1)
        self.gpu.call("cuLaunchKernel", self._function, *grid, *block, self._shared_bytes, stream.handle, packed, 0)


def device_count() -> int:
    """The number of CUDA devices, 0 where there is no driver.

    Raises:
        MissingDependency: cuda-bindings is not installed.
        BackendError: there is a driver, but it does not work.
    """
    driver = _driver()
    try:
        status, *_ = driver.cuInit(0)
    except RuntimeError:  # the bindings find no libcuda
        return 0
    count = 0
    if not int(status):
        status, count = driver.cuDeviceGetCount()
    name = getattr(status, "name", str(status))
    if int(status) and name != "CUDA_ERROR_NO_DEVICE":
        raise BackendError(f"the NVIDIA driver does not start: {name}; check that nvidia-smi works")
    return int(count or 0)


def stream_handle(stream: object) -> int:
    """The driver's handle of a stream of any library.

    Args:
        stream: None (the default stream), an int, or a stream of torch, CuPy, PyCUDA or cuda.core.

    Raises:
        UsageError: it is none of these.
    """
    if stream is None:
        return LEGACY_STREAM
    if isinstance(stream, int):
        return stream
    for name in ("cuda_stream", "ptr", "handle"):  # torch; CuPy; PyCUDA and cuda.core
        if hasattr(stream, name):
            return int(getattr(stream, name))
    raise UsageError(
        f"stream: expected None, an int, or a stream of torch, CuPy, PyCUDA or cuda.core, got {type(stream).__name__}"
    )


def _finalize(thing: object, give_back: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Call a function when a thing is forgotten, or when asked, but not at the end of the process.

    There the context must outlive the engines of other libraries, which are forgotten last; the driver tidies up.
    """
    finalizer = weakref.finalize(thing, give_back, *arguments)
    finalizer.atexit = False
    return finalizer


def _driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise MissingDependency(f"GPUs need cuda-bindings: {pip_install('fcnrt[cuda]')}") from error
    return driver
