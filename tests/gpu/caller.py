"""A user's program around the runtime: arrays and streams of its library, and work of its own on them."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fcnrt
from fcnrt.contract.types import Array
from fcnrt.gpu.cuda import Gpu, Memory, PinnedMemory, Stream, stream_handle

from .inputs import imported

GIVE_UP_S = 60  # after which a gate opens by itself: the test then fails, and does not hang


class Caller:
    """Work on a stream that belongs to the user.

    Args:
        gpu: the device, current.
        stream: any that a Segmenter takes.
    """

    def __init__(self, gpu: Gpu, stream: object):
        self._gpu, self.stream = gpu, stream
        self.handle = stream_handle(stream)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Enqueue a copy on the device."""
        self._gpu.call("cuMemcpyDtoDAsync", target, source, nbytes, self.handle)

    def is_busy(self) -> bool:
        """Whether some of the stream's work is still to be done; the host does not wait."""
        (status,) = self._gpu.driver.cuStreamQuery(self.handle)
        return str(status.name) == "CUDA_ERROR_NOT_READY"

    def synchronize(self) -> None:
        self._gpu.call("cuStreamSynchronize", self.handle)


class Gate:
    """Holds streams until it is opened: they wait for a number in memory, and the host for nothing."""

    def __init__(self, gpu: Gpu):
        self._gpu, self._number = gpu, PinnedMemory(gpu, 4)
        self._number.array[:] = 0
        self.gave_up = False

    def hold(self, stream: int) -> None:
        """Let what is enqueued on a stream from now on wait; skips where the driver has no such thing."""
        reached = self._gpu.driver.CUstreamWaitValue_flags.CU_STREAM_WAIT_VALUE_GEQ
        address = self._number.device_address
        (status,) = self._gpu.driver.cuStreamWaitValue32(stream, address, 1, int(reached))
        if str(status.name) == "CUDA_ERROR_NOT_SUPPORTED":
            pytest.skip("this driver's streams cannot wait for a number in memory")
        assert int(status) == 0, status

    def open(self) -> None:
        self._number.array.view(np.int32)[0] = 1

    def give_up(self) -> None:
        self.gave_up = True
        self.open()


@contextlib.contextmanager
def closed_gate(gpu: Gpu) -> Iterator[Gate]:
    """A gate, which is open in the end."""
    gate = Gate(gpu)
    watchdog = threading.Timer(GIVE_UP_S, gate.give_up)
    watchdog.start()
    try:
        yield gate
    finally:
        gate.open()
        watchdog.cancel()
        gpu.synchronize()  # streams may still look at the number


class Library(ABC):
    """Whose arrays and streams the user has."""

    def __init__(self, gpu: Gpu):
        self.gpu = gpu

    @abstractmethod
    def array(self, content: Array) -> Any:
        """A device array that holds a copy of a host array."""

    @abstractmethod
    def address(self, array: Any) -> int:
        """Where on the device its first element is."""

    @abstractmethod
    def new_stream(self) -> Any: ...

    @abstractmethod
    def adopted(self, labels: fcnrt.DeviceArray) -> tuple[int, Array]:
        """Where the library sees labels of ours, and what it reads there."""


class Interface(Library):
    """An object of the user's own with the CUDA Array Interface, and a stream's number."""

    def __init__(self, gpu: Gpu):
        super().__init__(gpu)
        self._streams: list[Stream] = []

    def array(self, content: Array) -> Any:
        return _InterfaceArray(self.gpu.uploaded(content), content)

    def address(self, array: Any) -> int:
        return int(array.memory.address)

    def new_stream(self) -> Any:
        self._streams.append(Stream(self.gpu))
        return self._streams[-1].handle

    def adopted(self, labels: fcnrt.DeviceArray) -> tuple[int, Array]:
        facts = labels.__cuda_array_interface__
        self.gpu.synchronize()
        address = facts["data"][0]
        return address, self.gpu.downloaded(address, facts["shape"], facts["typestr"])


class CudaCore(Library):
    """cuda.core: DLPack and nothing else."""

    def __init__(self, gpu: Gpu):
        super().__init__(gpu)
        self._core, self._views = imported("cuda.core"), imported("cuda.core.utils").StridedMemoryView

    def array(self, content: Array) -> Any:
        memory = self.gpu.uploaded(content)
        buffer = self._core.Buffer.from_handle(memory.address, memory.nbytes, owner=memory)
        return self._views.from_buffer(buffer, content.shape, dtype=content.dtype)

    def address(self, array: Any) -> int:
        return int(array.ptr)

    def new_stream(self) -> Any:
        device = self._core.Device(self.gpu.index)
        device.set_current()
        return device.create_stream()

    def adopted(self, labels: fcnrt.DeviceArray) -> tuple[int, Array]:
        view = self._views.from_dlpack(labels, 1)  # 1 is the default stream
        self.gpu.synchronize()
        return int(view.ptr), self.gpu.downloaded(int(view.ptr), tuple(view.shape), view.dtype)


class Torch(Library):
    """torch."""

    def __init__(self, gpu: Gpu):
        super().__init__(gpu)
        self._torch = imported("torch")
        if not self._torch.cuda.is_available():
            raise ImportError("this torch has no CUDA")
        self._device = self._torch.device("cuda", gpu.index)

    def array(self, content: Array) -> Any:
        array = self._torch.from_numpy(content).to(self._device)
        self._torch.cuda.synchronize(self._device)
        return array

    def address(self, array: Any) -> int:
        return int(array.data_ptr())

    def new_stream(self) -> Any:
        return self._torch.cuda.Stream(self._device)

    def adopted(self, labels: fcnrt.DeviceArray) -> tuple[int, Array]:
        tensor = self._torch.from_dlpack(labels)
        return tensor.data_ptr(), tensor.cpu().numpy()


class Cupy(Library):
    """CuPy."""

    def __init__(self, gpu: Gpu):
        super().__init__(gpu)
        self._cupy = imported("cupy")

    def array(self, content: Array) -> Any:
        array = self._cupy.asarray(content)
        self._cupy.cuda.Device(self.gpu.index).synchronize()
        return array

    def address(self, array: Any) -> int:
        return int(array.data.ptr)

    def new_stream(self) -> Any:
        return self._cupy.cuda.Stream(non_blocking=True)

    def adopted(self, labels: fcnrt.DeviceArray) -> tuple[int, Array]:
        array = self._cupy.asarray(labels)
        return int(array.data.ptr), self._cupy.asnumpy(array)


class Pycuda(Library):
    """PyCUDA in the primary context."""

    def __init__(self, gpu: Gpu):
        super().__init__(gpu)
        imported("pycuda.autoprimaryctx")
        self._arrays, self._driver = imported("pycuda.gpuarray"), imported("pycuda.driver")

    def array(self, content: Array) -> Any:
        return self._arrays.to_gpu(content)

    def address(self, array: Any) -> int:
        return int(array.gpudata)

    def new_stream(self) -> Any:
        return self._driver.Stream()

    def adopted(self, labels: fcnrt.DeviceArray) -> tuple[int, Array]:
        array = self._arrays.GPUArray(labels.shape, labels.dtype, gpudata=labels.address)
        self.gpu.synchronize()
        return int(array.gpudata), array.get()


class _InterfaceArray:
    def __init__(self, memory: Memory, content: Array):
        self.memory = memory
        facts = {"shape": content.shape, "typestr": content.dtype.str, "data": (memory.address, False), "version": 3}
        self.__cuda_array_interface__ = facts


LIBRARIES: dict[str, type[Library]] = {
    "the interface": Interface,
    "cuda.core": CudaCore,
    "torch": Torch,
    "cupy": Cupy,
    "pycuda": Pycuda,
}
