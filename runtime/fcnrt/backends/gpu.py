"""Frames to labels on a GPU with any engine: the order of work, and our kernels around the network.

    host frames     upload stream      pinned memory -> device    ┐
                    compute stream     network, tail              ├ a slot of the ring; three at once
                    download stream    labels -> pinned memory    ┘
    device frames   the compute stream waits for the caller's, then the caller's for the compute stream

In steady state nothing is allocated, and the host waits for nothing but the results it asks for.
"""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..contract.precision import Precision
from ..contract.spec import ModelSpec
from ..contract.types import Confidence, Frames, Labels, Scores, Shape, label_dtype
from ..errors import NOT_FINITE, BackendError, FrameError, UsageError
from ..gpu.arrays import DeviceArray, DeviceFrames, DeviceView, packed_view
from ..gpu.cuda import ALIGNMENT, Event, Gpu, Memory, PinnedMemory, Stream
from ..gpu.kernels import DeviceNv12Converter, DeviceResizer, DeviceUpsampler, Kernels
from ..gpu.proofs import prove_nv12, prove_resizing, prove_upsampling
from ..gpu.staging import GrowingBuffer, Slot
from .base import Backend, Options
from .recent import Recent

SLOTS = 3  # batches of host frames on their way: one going up, one computed, one coming down
MAX_SHAPES = 8  # shapes whose tables and buffers are kept


@dataclass(frozen=True)
class DeviceScores:
    """`scores` on the device, contiguous (N, C, h, w); the network's next run overwrites them."""

    address: int
    shape: tuple[int, int, int, int]
    type: Precision


class Network(ABC):
    """An engine on a GPU: the part between frames and scores. Its device is current in every call.

    Attributes:
        spec: what the model file says of itself.
        engine: its name and version.
        color: channel order of the frames that it takes.
        output: "scores", or "labels" where the engine keeps its own tail.
        scores_type: of the scores' elements.
        stream: that its work is enqueued on.
    """

    spec: ModelSpec
    engine: str
    color: Literal["rgb", "bgr"]
    output: Literal["scores", "labels"]
    scores_type: Precision
    stream: Stream

    @abstractmethod
    def check_shape(self, shape: Shape) -> None:
        """Raise FrameError where the engine was not made for frames of this shape."""

    @abstractmethod
    def scores(self, frames: int, shape: Shape) -> DeviceScores:
        """Enqueue the network on frames at an address, contiguous and aligned; only where `output` is "scores"."""

    @abstractmethod
    def labels(self, frames: int, shape: Shape, labels: int) -> None:
        """Enqueue it with its own tail and write labels to an address; only where `output` is "labels"."""

    @abstractmethod
    def clone(self) -> Network:
        """One for another thread."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds; a second call does nothing."""


class GpuBackend(Backend):
    """A network on a GPU, and our kernels around it.

    Args:
        gpu: the device.
        network: the engine.
        kernels: for this device; an engine whose output is labels needs them for resizing and colours only.
        options: the Segmenter's.

    Raises:
        BackendError: a kernel computes wrong values, or the device refuses.
        UsageError: the engine cannot do what the options ask for.
    """

    def __init__(self, gpu: Gpu, network: Network, kernels: Kernels, options: Options):
        self._gpu, self._network, self._kernels, self._options = gpu, network, kernels, options
        self.spec, self.engine, self.precision = network.spec, network.engine, network.spec.precision
        self.device, self.in_flight = f"cuda:{gpu.index}", SLOTS
        if options.precision not in ("auto", self.precision):
            raise UsageError(
                f"precision: expected {self.precision}, in which GPUs compute this file, got {options.precision}; "
                f"export it with --precision {options.precision}, or use device='cpu'"
            )
        self._swap = options.color not in (None, network.color)
        if options.input_size is not None:
            self._need_scores("input_size")
        with gpu.current():
            self._compute = network.stream
            self._upload, self._download = Stream(gpu), Stream(gpu)
            self._slots = [Slot(gpu) for _ in range(SLOTS)]
            self._entered, self._left = Event(gpu), Event(gpu)
            self._converted, self._resized = GrowingBuffer(gpu, Memory), GrowingBuffer(gpu, Memory)
            self._nonfinite = PinnedMemory(gpu, 4)  # a kernel writes to it across the bus, in the rare case
            self._nonfinite.array[:] = 0
            self._nonfinite_address = self._nonfinite.device_address
            if network.output == "scores":
                prove_upsampling(kernels, self._compute, len(self.spec.classes), network.scores_type)
        self._turn = 0
        self._upsamplers: Recent[DeviceUpsampler] = Recent(MAX_SHAPES)
        self._resizers: Recent[DeviceResizer] = Recent(MAX_SHAPES)
        self._unused: Recent[list[Memory]] = Recent(MAX_SHAPES)  # of labels that were forgotten, by stream and size

    def check_shape(self, shape: Shape) -> None:
        self._network.check_shape(shape)

    def submit(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> Callable[[], None]:
        targets = [labels] if confidence is None else [labels, confidence]
        slot = self._next_slot()
        self._mark("checks")
        with self._working():
            view = self._sent(frames, slot)
            self._label(DeviceFrames((view,)), *slot.addresses_for(targets))
            slot.computed.record(self._compute)
            slot.fetch(targets, self._download)
            self._mark("device to host", self._download)
        return lambda: self._deliver(slot, targets)

    def scores(self, frames: Frames) -> Scores:
        self._need_scores("scores")
        slot = self._next_slot()
        with self._working():
            view = self._sent(frames, slot)
            scores = self._network.scores(*self._network_input(DeviceFrames((view,))))
            self._compute.synchronize()
            found = self._gpu.downloaded(scores.address, scores.shape, scores.type.dtype)
            return found.astype(np.float32, copy=False)

    def run_network(self, frames: Frames, times: int) -> None:
        slot = self._next_slot()
        with self._working():
            address, seen = self._network_input(DeviceFrames((self._sent(frames, slot),)))
            (labels,) = slot.addresses_for([np.empty(frames.shape[:3], label_dtype(len(self.spec.classes)))])
            for _ in range(times):
                if self._network.output == "labels":
                    self._network.labels(address, seen, labels)
                else:
                    self._network.scores(address, seen)
            self._compute.synchronize()

    def label_on_device(
        self, frames: DeviceFrames, stream: int, labels: DeviceView | None, confidence: DeviceView | None
    ) -> DeviceArray | None:
        self._check_finite()
        with self._working():
            caller = Stream(self._gpu, stream)
            self._enter(caller, [*frames.planes, *filter(None, (labels, confidence))])
            made = self._new_labels(frames, caller) if labels is None else None
            target = made or labels
            assert target is not None
            self._label(frames, target.address, confidence.address if confidence else None)
            self._left.record(self._compute)
            caller.wait(self._left)
        return made

    def clone(self) -> GpuBackend:
        with self._gpu.current():
            network = self._network.clone()
        return GpuBackend(self._gpu, network, self._kernels, self._options)

    def close(self) -> None:
        with self._gpu.current():
            with contextlib.suppress(BackendError):  # a context that an error broke is not waited for
                self._gpu.synchronize()
            self._network.close()
            for slot in self._slots:
                slot.close()
            for buffer in (self._converted, self._resized):
                buffer.close()
            self._nonfinite.close()
        for cache in (self._upsamplers, self._resizers, self._unused):
            cache.clear()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """The device is current; after a failure nothing is left running that would use a buffer again."""
        with self._gpu.current():
            try:
                yield
            except BaseException:
                with contextlib.suppress(BackendError):
                    self._gpu.synchronize()
                raise

    def _mark(self, stage: str, stream: Stream | None = None) -> None:
        """Tell the observer, if there is one, that a stage has ended, when its stream has."""
        if self.observer is not None:
            if stream is not None:
                stream.synchronize()
            super()._mark(stage)

    def _next_slot(self) -> Slot:
        self._turn = (self._turn + 1) % SLOTS
        return self._slots[self._turn]

    def _sent(self, frames: Frames, slot: Slot) -> DeviceView:
        """Host frames on the device, as far as the compute stream is concerned."""
        slot.deliver()  # results that nobody has waited for yet
        view = slot.send(frames, self._upload)
        self._mark("host staging")
        self._mark("host to device", self._upload)
        self._compute.wait(slot.uploaded)
        return view

    def _deliver(self, slot: Slot, targets: list[Labels]) -> None:
        with self._working():
            slot.deliver(targets)
        self._mark("host copy")
        self._check_finite()

    def _enter(self, caller: Stream, arrays: Sequence[DeviceView]) -> None:
        """Order the work that follows behind the caller's stream and behind those that its arrays name."""
        if not all(self._gpu.holds(array.address) for array in arrays):
            raise FrameError(
                f"frames, out, confidence: expected memory of {self.device} in its primary context, got another's; "
                "copy them there (PyCUDA: import pycuda.autoprimaryctx, not pycuda.autoinit)"
            )
        producers = {array.producer for array in arrays} - {None, caller.handle}
        for stream in (caller, *(Stream(self._gpu, producer) for producer in producers)):
            self._entered.record(stream)
            self._compute.wait(self._entered)

    def _label(self, frames: DeviceFrames, labels: int, confidence: int | None = None) -> None:
        """Enqueue everything between frames on the device and labels on the device."""
        address, seen = self._network_input(frames)
        if self._network.output == "labels":
            if confidence is not None:
                self._need_scores("confidence")
            self._network.labels(address, seen, labels)
            self._mark("engine", self._compute)
            return
        scores = self._network.scores(address, seen)
        self._mark("engine", self._compute)
        upsample = self._upsampler_for(scores, frames.shape, seen)
        upsample(scores.address, labels, confidence, self._nonfinite_address, self._compute)
        self._mark("tail", self._compute)

    def _network_input(self, frames: DeviceFrames) -> tuple[int, Shape]:
        """Address and shape of what the network is to see: the frames themselves wherever that is possible."""
        batch, height, width = frames.shape
        swap = self._swap
        if frames.source:
            frames, swap = self._as_pixels(frames), False
        (view,) = frames.planes
        size = self._options.input_size or (height, width)
        contiguous = view.strides == packed_view(0, view.shape, np.uint8, None).strides
        if size != (height, width) or swap or not contiguous or view.address % ALIGNMENT:
            resized = self._resized.at_least(batch * size[0] * size[1] * 3)
            self._resizer_for((height, width), size, swap)(view, resized.address, self._compute)
            self._mark("resizing", self._compute)
            return resized.address, (batch, *size)
        return view.address, frames.shape

    def _as_pixels(self, frames: DeviceFrames) -> DeviceFrames:
        """An NV12 frame in the network's channel order."""
        shape = (*frames.shape, 3)
        memory = self._converted.at_least(shape[1] * shape[2] * 3)
        self._convert_nv12(frames, memory.address, self._compute)
        return DeviceFrames((packed_view(memory.address, shape, np.uint8, memory),))

    @functools.cached_property
    def _convert_nv12(self) -> DeviceNv12Converter:
        prove_nv12(self._kernels, self._compute)
        return DeviceNv12Converter(self._kernels, swap=self._network.color == "bgr")

    @functools.cached_property
    def _resize_kernels(self) -> Kernels:
        prove_resizing(self._kernels, self._compute)
        return self._kernels

    def _resizer_for(self, source: tuple[int, int], target: tuple[int, int], swap: bool) -> DeviceResizer:
        def make() -> DeviceResizer:
            return DeviceResizer(self._resize_kernels, source, target, self._options.antialias, swap)

        return self._resizers.get((source, target, swap), make)

    def _upsampler_for(self, scores: DeviceScores, frames: Shape, seen: Shape) -> DeviceUpsampler:
        def make() -> DeviceUpsampler:
            return DeviceUpsampler(self._kernels, self.spec.tail, scores.shape, scores.type, frames[1:], seen[1:])

        return self._upsamplers.get((scores.shape, frames, seen), make)

    def _new_labels(self, frames: DeviceFrames, caller: Stream) -> DeviceArray:
        """An array for the caller; its memory serves again when it is forgotten, behind the same stream's work."""
        dtype = np.dtype(label_dtype(len(self.spec.classes)))
        nbytes = math.prod(frames.shape) * dtype.itemsize
        unused = self._unused.get((caller.handle, nbytes), list)
        memory = unused.pop() if unused else Memory(self._gpu, nbytes)
        labels = DeviceArray(self._gpu, memory, frames.labels_shape, dtype, caller)
        weakref.finalize(labels, unused.append, memory).atexit = False
        return labels

    def _check_finite(self) -> None:
        """Raise what the tail found in scores: of this batch, or of one that is on its way with it."""
        if self._nonfinite.array.any():
            self._nonfinite.array[:] = 0
            raise BackendError(NOT_FINITE)

    def _need_scores(self, what: str) -> None:
        if self._network.output == "labels":
            raise UsageError(f"{what}: this engine was built with --tail graph and gives labels only; build it without")
