"""Arrays on the GPU, ours and other libraries', passed on without a copy: DLPack and the CUDA Array Interface."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..contract.frames import shared
from ..errors import FrameError, MissingDependency, pip_install
from .cuda import LEGACY_STREAM, Event, Gpu, Memory, Stream

_CUDA, _CUDA_MANAGED = 2, 13  # DLDeviceType of DLPack
_LEGACY_IN_PROTOCOLS = 1  # the default stream's name in both protocols, where 0 is forbidden


@dataclass(frozen=True)
class Nv12Frame:
    """A decoder's frame as it lies on the GPU, for a Segmenter to read there.

    Args:
        luma: device array (H, W), uint8; rows may be padded.
        chroma: device array (ceil(H / 2), ceil(W / 2), 2) of U and V, or (ceil(H / 2), W), uint8; rows may be padded.
        matrix: "bt709" (HD video) or "bt601" (SD video, many cameras).
        full_range: luma runs from 0 to 255 instead of 16 to 235.
    """

    luma: Any
    chroma: Any
    matrix: Literal["bt601", "bt709"] = "bt709"
    full_range: bool = False


@dataclass(frozen=True)
class DeviceView:
    """Somebody's array in device memory.

    Attributes:
        address: of the first element.
        shape: in elements.
        strides: in bytes.
        dtype: of the elements.
        owner: what keeps the memory alive.
        producer: handle of the stream that writes the array, None where the protocol saw to the order.
        read_only: it must not be written to.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: object
    producer: int | None = None
    read_only: bool = False

    def overlaps(self, other: DeviceView) -> bool:
        """Whether the bytes from the first to the last element of both have some in common."""
        (first, end), (others_first, others_end) = self._extent(), other._extent()
        return first < others_end and others_first < end

    def _extent(self) -> tuple[int, int]:
        spans = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        first = self.address + sum(span for span in spans if span < 0)
        return first, first + sum(map(abs, spans)) + self.dtype.itemsize


@dataclass(frozen=True)
class DeviceFrames:
    """Frames on the GPU that were checked.

    Attributes:
        planes: one view (N, H, W, 3), or luma (H, W) and chroma (ceil(H / 2), ceil(W / 2), 2).
        batched: the caller gave a batch, and gets one back.
        source: of NV12 planes, the caller's object.
    """

    planes: tuple[DeviceView, ...]
    batched: bool = True
    source: Nv12Frame | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""
        if self.source:
            return (1, *self.planes[0].shape)  # type: ignore[return-value]
        batch, height, width, _ = self.planes[0].shape
        return batch, height, width

    @property
    def labels_shape(self) -> tuple[int, ...]:
        """Of the labels that the caller expects: (N, H, W) or (H, W)."""
        return self.shape[not self.batched :]


class DeviceArray:
    """Labels in device memory, for any library: torch.from_dlpack(labels), cupy.asarray(labels), labels.numpy().

    They are complete on the stream that was named in the call, and for DLPack's consumers on theirs. The memory
    returns to the Segmenter when the array is forgotten; work on another stream must be done by then.
    """

    def __init__(
        self,
        gpu: Gpu,
        memory: Memory,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        stream: Stream,
    ):
        self._gpu, self._memory, self._stream = gpu, memory, stream
        self.shape, self.dtype = shape, np.dtype(dtype)

    @property
    def address(self) -> int:
        """Of the first label, on the device."""
        return self._memory.address

    def numpy(self) -> npt.NDArray[Any]:
        """A copy on the host; waits for it."""
        with self._gpu.current():
            self._stream.synchronize()
            return self._gpu.downloaded(self.address, self.shape, self.dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": self._stream.handle or _LEGACY_IN_PROTOCOLS,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CUDA, self._gpu.index

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        from cuda.core import Buffer

        if stream != -1:  # no stream is the default one by the standard
            self._order_before(Stream(self._gpu, 0 if stream in (None, _LEGACY_IN_PROTOCOLS) else stream))
        nbytes = int(np.prod(self.shape)) * self.dtype.itemsize
        buffer = Buffer.from_handle(self.address, nbytes, owner=self)
        return _strided_view().from_buffer(buffer, self.shape, dtype=self.dtype).__dlpack__(**options)

    def _order_before(self, consumer: Stream) -> None:
        with self._gpu.current():
            written = Event(self._gpu)
            written.record(self._stream)
            consumer.wait(written)


def packed_view(address: int, shape: tuple[int, ...], dtype: npt.DTypeLike, owner: object) -> DeviceView:
    """A contiguous array at an address."""
    dtype = np.dtype(dtype)
    return DeviceView(address, shape, _packed(shape, dtype.itemsize), dtype, owner)


def is_device_array(candidate: object) -> bool:
    """Whether an object offers memory of a CUDA device."""
    if hasattr(candidate, "__cuda_array_interface__"):
        return True
    device: Callable[[], tuple[int, int]] | None = getattr(candidate, "__dlpack_device__", None)
    return device is not None and device()[0] in (_CUDA, _CUDA_MANAGED)


def device_frames(frames: Any, consumer: int) -> DeviceFrames:
    """Check a caller's frames.

    Args:
        frames: a device array (H, W, 3) or (N, H, W, 3), or an Nv12Frame.
        consumer: handle of the stream that will read them.

    Raises:
        FrameError: wrong type, shape or layout.
    """
    if isinstance(frames, Nv12Frame):
        return DeviceFrames(_nv12_planes(frames, consumer), batched=False, source=frames)
    view = device_view("frames", frames, consumer)
    _check_uint8("frames", view)
    if len(view.shape) not in (3, 4) or view.shape[-1] != 3 or 0 in view.shape:
        raise FrameError(f"frames: expected shape (H, W, 3) or (N, H, W, 3), got {view.shape}")
    height, width = view.shape[-3:-1]
    if view.strides[-2:] != (3, 1) or (height > 1 and view.strides[-3] < 3 * width):
        raise FrameError(f"frames: expected rows of packed pixels, got strides {view.strides}; make them contiguous")
    batch = view
    if len(view.shape) == 3:
        batch = replace(view, shape=(1, *view.shape), strides=(height * view.strides[0], *view.strides))
    return DeviceFrames((batch,), batched=len(view.shape) == 4)


def device_target(name: str, array: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, consumer: int) -> DeviceView:
    """Check a caller's array that results are to be written to.

    Raises:
        FrameError: wrong type, shape or layout.
    """
    view, dtype = device_view(name, array, consumer), np.dtype(dtype)
    if (view.dtype, view.shape, view.strides) != (dtype, shape, _packed(shape, dtype.itemsize)) or view.read_only:
        got = "a read-only one" if view.read_only else f"{view.dtype} {view.shape} with strides {view.strides}"
        raise FrameError(f"{name}: expected a contiguous {dtype} device array {shape}, got {got}")
    return view


def check_apart_on_device(frames: DeviceFrames, labels: DeviceView | None, confidence: DeviceView | None) -> None:
    """Raise FrameError where results would be written over the frames, or over each other."""
    targets = {name: view for name, view in (("out", labels), ("confidence", confidence)) if view is not None}
    for name, view in targets.items():
        if any(view.overlaps(plane) for plane in frames.planes):
            raise shared(name, "frames")
    if len(targets) == 2 and targets["confidence"].overlaps(targets["out"]):
        raise shared("confidence", "out")


def device_view(name: str, array: Any, consumer: int) -> DeviceView:
    """Look into another library's device array.

    Args:
        name: what it is, for messages.
        array: an object with `__cuda_array_interface__` or DLPack.
        consumer: handle of the stream that will read it.

    Returns:
        Where it lies. Strides along which there is one element only are those of a contiguous array.

    Raises:
        FrameError: it is in the host's memory, or describes itself in a way that cannot be understood.
        MissingDependency: DLPack needs cuda-core.
    """
    if not is_device_array(array):
        raise FrameError(f"{name}: expected a device array, got {type(array).__name__}; copy it to the GPU")
    by_interface = hasattr(array, "__cuda_array_interface__")
    try:
        view = _from_interface(array) if by_interface else _from_dlpack(array, consumer)
    except MissingDependency:
        raise
    except Exception as error:  # other libraries', of any type
        protocol = "__cuda_array_interface__" if by_interface else "__dlpack__"
        raise FrameError(
            f"{name}: cannot understand {type(array).__name__}'s {protocol}: {' '.join(str(error).split())}"
        ) from error
    usual = zip(view.shape, view.strides, _packed(view.shape, view.dtype.itemsize), strict=True)
    return replace(view, strides=tuple(stride if size > 1 else packed for size, stride, packed in usual))


def _nv12_planes(frame: Nv12Frame, consumer: int) -> tuple[DeviceView, DeviceView]:
    luma, chroma = device_view("luma", frame.luma, consumer), device_view("chroma", frame.chroma, consumer)
    if frame.matrix not in ("bt601", "bt709"):
        raise FrameError(f"NV12: expected matrix 'bt601' or 'bt709', got {frame.matrix!r}")
    _check_uint8("luma", luma)
    _check_uint8("chroma", chroma)
    if len(luma.shape) != 2 or 0 in luma.shape or luma.strides[1] != 1:
        raise FrameError(f"luma: expected (H, W) with packed rows, got {luma.shape} with strides {luma.strides}")
    height, width = luma.shape
    half = (height + 1) // 2, (width + 1) // 2
    if chroma.shape not in ((*half, 2), (half[0], 2 * half[1])) or chroma.strides[1:] not in ((2, 1), (1,)):
        raise FrameError(
            f"chroma: expected {(*half, 2)} with packed rows for luma {luma.shape}, "
            f"got {chroma.shape} with strides {chroma.strides}"
        )
    return luma, chroma


def _check_uint8(name: str, view: DeviceView) -> None:
    if view.dtype != np.uint8:
        raise FrameError(f"{name}: expected a uint8 device array, got {view.dtype}")


def _from_interface(array: Any) -> DeviceView:
    facts = array.__cuda_array_interface__
    dtype, shape = np.dtype(facts["typestr"]), _whole_numbers(facts["shape"])
    strides = _whole_numbers(facts.get("strides") or _packed(shape, dtype.itemsize))
    (address, read_only), stream = facts["data"], facts.get("stream")
    if len(shape) != len(strides) or min(shape, default=0) < 0 or facts.get("mask") is not None:
        raise ValueError(f"shape {shape}, strides {strides}, mask {facts.get('mask')}")
    producer = stream if stream is None else operator.index(stream)
    if producer == _LEGACY_IN_PROTOCOLS:
        producer = LEGACY_STREAM
    return DeviceView(operator.index(address), shape, strides, dtype, array, producer, bool(read_only))


def _from_dlpack(array: Any, consumer: int) -> DeviceView:
    view = _strided_view().from_dlpack(array, consumer or _LEGACY_IN_PROTOCOLS)
    shape, size = tuple(view.shape), view.dtype.itemsize
    strides = tuple(stride * size for stride in view.strides) if view.strides else _packed(shape, size)
    return DeviceView(int(view.ptr), shape, strides, view.dtype, view, read_only=bool(view.readonly))


def _whole_numbers(values: Any) -> tuple[int, ...]:
    return tuple(operator.index(value) for value in values)


def _packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides of a contiguous array, in bytes."""
    return tuple(math.prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape)))


def _strided_view() -> Any:
    try:
        from cuda.core.utils import StridedMemoryView
    except ImportError as error:
        raise MissingDependency(f"DLPack arrays need cuda-core: {pip_install('fcnrt[cuda]')}") from error
    return StridedMemoryView
