"""Memory through which host frames go to the GPU and results come back: allocated once, used in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ..contract.types import Array
from .arrays import DeviceView, packed_view
from .cuda import ALIGNMENT, Event, Gpu, Memory, PinnedMemory, Stream

CHUNK = 1 << 20  # bytes
SomeMemory = TypeVar("SomeMemory", Memory, PinnedMemory)


class GrowingBuffer(Generic[SomeMemory]):
    """Memory that is replaced when more is needed.

    Args:
        gpu: the device.
        kind: Memory or PinnedMemory.
    """

    def __init__(self, gpu: Gpu, kind: type[SomeMemory]):
        self._gpu = gpu
        self._kind: Callable[[Gpu, int], SomeMemory] = kind
        self._memory: SomeMemory | None = None

    def at_least(self, nbytes: int) -> SomeMemory:
        """Memory of that size or larger, always the same while it suffices."""
        if self._memory is None or self._memory.nbytes < nbytes:
            self._gpu.synchronize()  # work that still uses the old one
            self.close()
            self._memory = self._kind(self._gpu, nbytes)
        return self._memory

    def close(self) -> None:
        """Free the memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None


class Slot:
    """One batch of host frames on its way through the GPU: frames up, results down.

    Attributes:
        uploaded: reached when the frames are on the device.
        computed: to be recorded when the results are, before `fetch`.
    """

    def __init__(self, gpu: Gpu):
        self._host_frames, self._host_results = GrowingBuffer(gpu, PinnedMemory), GrowingBuffer(gpu, PinnedMemory)
        self._frames, self._results = GrowingBuffer(gpu, Memory), GrowingBuffer(gpu, Memory)
        self.uploaded, self.computed, self._fetched = Event(gpu), Event(gpu), Event(gpu)
        self._targets: Sequence[Array] = ()

    def send(self, frames: npt.NDArray[np.uint8], stream: Stream) -> DeviceView:
        """Copy frames (N, H, W, 3), contiguous, and enqueue their way to the device; they may change afterwards."""
        staged = self._host_frames.at_least(frames.nbytes)
        memory = self._frames.at_least(frames.nbytes)
        content = frames.reshape(-1)
        for first in range(0, frames.nbytes, CHUNK):  # a chunk is on its way while the next is staged
            part = content[first : first + CHUNK]
            staged.array[first : first + part.size] = part
            stream.upload(staged, memory, part.size, first)
        self.uploaded.record(stream)
        return packed_view(memory.address, frames.shape, np.uint8, memory)

    def addresses_for(self, targets: Sequence[Array]) -> list[int]:
        """Where on the device the results for some host arrays are to be written."""
        base = self._results.at_least(_offsets(targets)[-1]).address
        return [base + offset for offset in _offsets(targets)[:-1]]

    def fetch(self, targets: Sequence[Array], stream: Stream) -> None:
        """Enqueue the results' way to the host; `deliver` brings them into `targets`."""
        stream.wait(self.computed)
        nbytes = _offsets(targets)[-1]
        stream.download(self._results.at_least(nbytes), self._host_results.at_least(nbytes), nbytes)
        self._fetched.record(stream)
        self._targets = targets

    def deliver(self, targets: Sequence[Array] | None = None) -> None:
        """Wait for results and write them to their targets; nothing where they were delivered.

        Args:
            targets: deliver only if these are the ones that are due.
        """
        if targets is not None and targets is not self._targets:
            return
        due, self._targets = self._targets, ()
        if due:
            self._fetched.synchronize()
        for target, offset in zip(due, _offsets(due), strict=False):
            staged = self._host_results.at_least(0).array[offset : offset + target.nbytes]
            np.copyto(target, staged.view(target.dtype).reshape(target.shape))

    def close(self) -> None:
        """Free the memory."""
        for buffer in (self._host_frames, self._host_results, self._frames, self._results):
            buffer.close()


def _offsets(arrays: Sequence[Array]) -> list[int]:
    """Where arrays begin when they lie one behind the other, aligned; the last is the end."""
    offsets = [0]
    for array in arrays:
        offsets.append(-(-(offsets[-1] + array.nbytes) // ALIGNMENT) * ALIGNMENT)
    return offsets
