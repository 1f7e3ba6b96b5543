"""What callers hand over: device arrays and streams as torch, CuPy, PyCUDA and PyAV show them, in simulated memory.

The arrays belong to the test, and so does their stream: the code under test must neither free nor synchronise them.
`fill` and `read` queue work of the caller's own on a stream, as a kernel of the caller would, so that a runtime that
does not wait for the caller's stream reads old data, and one that the caller's stream does not wait for is a race.

Not proved: that a given version of those libraries shows exactly these attributes.
"""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from .machine import SimulatedCuda
from .streams import Work

CUDA, CUDA_HOST, CUDA_MANAGED = 2, 3, 13  # DLDeviceType
_CODES = {"i": 0, "u": 1, "f": 2}  # DLDataTypeCode


class ForeignStream:
    """A stream of the caller's; `name` is the attribute by which its library shows the handle."""

    def __init__(self, gpu: SimulatedCuda, name: str = "cuda_stream", blocking: bool = False, device: int = 0):
        self.value = gpu.new_stream(device, blocking, owner="test")
        setattr(self, name, self.value)


class DeviceArray:
    """Device memory of the caller's with shape, dtype and strides, and none of the libraries' protocols.

    Args:
        content: what it holds, of any strides; the memory keeps them (so slices and flipped arrays can be made).
        device: where the memory is.
    """

    def __init__(self, gpu: SimulatedCuda, content: npt.NDArray[Any], device: int = 0):
        self.gpu, self.device = gpu, device
        self.shape, self.dtype, self.strides = content.shape, content.dtype, content.strides
        low, high = np.lib.array_utils.byte_bounds(content)
        self._allocation = gpu.allocate(max(high - low, 1), "device", device, owner="test")
        self.address = self._allocation.address + content.__array_interface__["data"][0] - low
        self._place(content)

    def fill(self, content: npt.NDArray[Any], stream: int) -> None:
        """Queue a kernel of the caller's that writes the whole array."""
        copy = content.copy()
        work = Work("the caller's write", lambda: self._place(copy), ((self._allocation.address, 1),))
        self.gpu.submit(self.gpu.stream(stream, self.device), work)

    def read(self, stream: int) -> npt.NDArray[Any]:
        """Queue a kernel of the caller's that reads the array, and wait for its result."""
        found: list[npt.NDArray[Any]] = []
        work = Work(
            "the caller's read", lambda: found.append(self._elements().copy()), ((self._allocation.address, 1),)
        )
        with self.gpu.lock:
            queue = self.gpu.stream(stream, self.device)
            self.gpu.submit(queue, work)
            self.gpu.scheduler.wait(self.gpu.tail(queue))
        return found[0]

    def free(self) -> None:
        """Free the memory, as the caller's library does when the array is forgotten."""
        self.gpu.memory.free(self._allocation.address)

    def _place(self, content: npt.NDArray[Any]) -> None:
        self._elements(writes=True)[...] = content

    def _elements(self, writes: bool = False) -> npt.NDArray[Any]:
        allocation = self._allocation
        memory = self.gpu.memory.view(allocation.address, (allocation.nbytes,), "u1", writes)
        offset = self.address - allocation.address
        return np.ndarray(self.shape, self.dtype, memory.data, offset, self.strides)

    def _interface(self, version: int, **more: Any) -> dict[str, Any]:
        contiguous = self.strides == np.empty(self.shape, self.dtype).strides
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None if contiguous else self.strides,
            "version": version,
            **more,
        }


class TorchLike(DeviceArray):
    """As torch.Tensor: the interface of version 2, without a stream, and DLPack."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._interface(2)

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        return _capsule(self)


class CupyLike(DeviceArray):
    """As cupy.ndarray: the interface of version 3 with the stream that the array's work is on."""

    def __init__(self, gpu: SimulatedCuda, content: npt.NDArray[Any], stream: int | None = 1, device: int = 0):
        super().__init__(gpu, content, device)
        self._stream = stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._interface(3, stream=self._stream)


class PycudaLike(DeviceArray):
    """As pycuda.gpuarray.GPUArray: the interface, and `gpudata` that converts to an int."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._interface(3, stream=None)

    @property
    def gpudata(self) -> int:
        return self.address


class PyavLike(DeviceArray):
    """As a plane of PyAV's hardware frames: DLPack alone.

    Attributes:
        requested: the streams that consumers named in `__dlpack__`.
        deleted: how many consumers have released the array.
    """

    def __init__(self, gpu: SimulatedCuda, content: npt.NDArray[Any], device: int = 0, device_type: int = CUDA):
        super().__init__(gpu, content, device)
        self.requested: list[int | None] = []
        self.deleted = 0
        self._device_type = device_type

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device_type, self.device

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        self.requested.append(stream)
        return _capsule(self, self._device_type)


class _Device(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _ManagedTensor(ctypes.Structure):
    pass


_DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(_ManagedTensor))
_ManagedTensor._fields_ = [("tensor", _Tensor), ("manager", ctypes.c_void_p), ("deleter", _DELETER)]

_numbers = itertools.count(1)
_exported: dict[int, Any] = {}  # what a capsule's consumer keeps alive until it calls the deleter


def _capsule(array: DeviceArray, device_type: int = CUDA) -> Any:
    """A DLPack capsule of the first, unversioned kind; strides are in elements."""
    rank, size = len(array.shape), array.dtype.itemsize
    shape = (ctypes.c_int64 * rank)(*array.shape)
    strides = (ctypes.c_int64 * rank)(*(stride // size for stride in array.strides))
    dtype = _DataType(_CODES[array.dtype.kind], 8 * size, 1)
    tensor = _Tensor(array.address, _Device(device_type, array.device), rank, dtype, shape, strides, 0)
    key = next(_numbers)
    managed = _ManagedTensor(tensor, key, _DELETER(_delete))
    _exported[key] = managed, shape, strides, array
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(ctypes.addressof(managed), _CAPSULE_NAME, None)


def _delete(managed: Any) -> None:
    array = _exported.pop(managed.contents.manager)[-1]
    if isinstance(array, PyavLike):
        array.deleted += 1


_CAPSULE_NAME = b"dltensor"  # kept: a capsule does not copy its name
