"""Simulated device memory: addresses that the host cannot touch, bounds that are checked, races that are found.

One arena is mapped twice. The device's view, whose addresses the code under test gets, allows no access: a host
that follows such a pointer dies of a segmentation fault, as it would with a GPU. The host's view is where the simulated
work happens and where pinned memory is plain memory. Addresses are never used twice, so that an old pointer is always
recognised, and fresh memory holds a pattern instead of zeros.

A race is found whatever order the simulation happens to choose: each access is held against the earlier ones to the
same bytes, and two of them, one a write, must be ordered by streams, events or waits of the host.

Not proved: anything about caches, atomics, memory traffic inside one kernel, or the host's own reads and writes of
pinned memory (see streams.py for what is checked of those).
"""

from __future__ import annotations

import bisect
import ctypes
import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .misuse import Misuse

if TYPE_CHECKING:
    from .streams import Operation

Use = tuple[int, int]  # address and bytes

ALIGNMENT = 256  # of every allocation, and no more than that
POISON = 0xA5  # what uninitialised memory holds
_ARENA_BYTES = 1 << 36  # of address space; pages exist once they are touched
_PAGE = 4096
_PROT_NONE, _PROT_READ_WRITE, _MAP_SHARED, _MADV_REMOVE = 0, 3, 1, 9


@dataclass(frozen=True)
class Access:
    """Bytes that an operation read or wrote."""

    start: int
    end: int
    writes: bool
    operation: Operation

    def overlaps(self, other: Access) -> bool:
        return self.start < other.end and other.start < self.end

    def covers(self, other: Access) -> bool:
        return self.start <= other.start and other.end <= self.end


@dataclass
class Allocation:
    """Memory that is alive: `address` as the device sees it."""

    address: int
    nbytes: int
    kind: str  # "device" or "pinned"
    device: int
    owner: str  # "runtime", or "test" for what belongs to the caller of the code under test
    context: int | None = None  # of its own, where it is not the device's primary one
    pending: list[Use] = field(default_factory=list)  # what queued operations use of it
    accesses: list[Access] = field(default_factory=list)

    def is_idle(self, use: Use) -> bool:
        """Whether no queued operation uses any of these bytes."""
        start, end = use[0], use[0] + use[1]
        return all(end <= other or other + nbytes <= start for other, nbytes in self.pending)

    def note(self, access: Access) -> None:
        """Hold an access against those before it; keep what later ones must be held against."""
        for other in self.accesses:
            if access.overlaps(other) and (access.writes or other.writes) and not _ordered(other, access):
                raise Misuse(
                    f"race: {access.operation.name} and {other.operation.name} use the same {self.kind} memory, one "
                    "writes, and neither waits for the other"
                )
        superseded = [other for other in self.accesses if _supersedes(access, other)]
        self.accesses = [other for other in self.accesses if other not in superseded] + [access]


class Memory:
    """The allocations of one simulation."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._live: dict[int, Allocation] = {}
        self.running: Operation | None = None  # whose accesses are noted

    def allocate(self, nbytes: int, kind: str, device: int = 0, owner: str = "runtime") -> Allocation:
        """New poisoned memory."""
        address = _arena().take(nbytes)
        allocation = Allocation(address, nbytes, kind, device, owner)
        self._starts.append(address)
        self._live[address] = allocation
        _bytes_at(address, nbytes)[:] = POISON
        return allocation

    def free(self, address: int) -> None:
        """Forget an allocation by its address; its pages go back to the system."""
        allocation = self._live.pop(address)
        self._starts.remove(address)
        _arena().give_back(address, allocation.nbytes)

    def allocations(self, kind: str | None = None) -> list[Allocation]:
        return [allocation for allocation in self._live.values() if kind in (None, allocation.kind)]

    def at(self, address: int) -> Allocation | None:
        """The allocation that starts here."""
        return self._live.get(address)

    def holding(self, address: int, nbytes: int = 1) -> Allocation | None:
        """The allocation that all of these bytes lie in."""
        index = bisect.bisect_right(self._starts, address) - 1
        allocation = self._live[self._starts[index]] if index >= 0 else None
        if allocation is None or address + nbytes > allocation.address + allocation.nbytes:
            return None
        return allocation

    def checked(self, address: int, nbytes: int, what: str) -> Allocation:
        """The allocation that all of these bytes lie in; anything else is a misuse."""
        allocation = self.holding(address, nbytes)
        if allocation is None:
            raise Misuse(f"{what}: {nbytes} bytes at {address:#x} do not lie in one live allocation")
        return allocation

    def view(self, address: int, shape: Sequence[int], dtype: npt.DTypeLike, writes: bool = False) -> npt.NDArray[Any]:
        """Device memory as an array for the operation that runs; read-only unless it `writes`."""
        array = self.unnoted(address, shape, dtype)
        if self.running and array.nbytes:
            allocation = self.checked(address, array.nbytes, self.running.name)
            allocation.note(Access(address, address + array.nbytes, writes, self.running))
        array.flags.writeable = writes
        return array

    def unnoted(self, address: int, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Device memory as an array: bounds and alignment are checked, races are not."""
        kind = np.dtype(dtype)
        nbytes = math.prod(shape) * kind.itemsize
        what = self.running.name if self.running else "access"
        self.checked(address, nbytes, what)
        if address % kind.itemsize:
            raise Misuse(f"{what}: {address:#x} is not aligned to {kind}")
        return _bytes_at(address, nbytes).view(kind).reshape(tuple(shape))


def host_pointer(address: int) -> int:
    """Where the host finds pinned memory of this device address."""
    return address + _arena().shift


def device_pointer(pointer: int) -> int:
    """The device address of a host pointer into pinned memory; of any other host pointer, an address of nothing."""
    return pointer - _arena().shift


def _ordered(first: Access, second: Access) -> bool:
    return first.operation is second.operation or second.operation.follows(first.operation)


def _supersedes(access: Access, other: Access) -> bool:
    """Whether whatever races with `other` from now on also races with `access`."""
    return access.covers(other) and (access.writes or not other.writes)


def _bytes_at(address: int, nbytes: int) -> npt.NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(host_pointer(address)))


class _Arena:
    """Address space that is handed out once, mapped twice."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        descriptor = os.memfd_create("simulated device memory")
        os.ftruncate(descriptor, _ARENA_BYTES)
        self._device = self._mapped(descriptor, _PROT_NONE)
        self.shift = self._mapped(descriptor, _PROT_READ_WRITE) - self._device
        self._used = _PAGE  # address 0 of the arena stays unused: pointers just below an allocation are of nobody
        os.close(descriptor)

    def take(self, nbytes: int) -> int:
        start = self._device + self._used + ALIGNMENT
        self._used += (nbytes + ALIGNMENT + 2 * _PAGE - 1) // _PAGE * _PAGE  # with a guard page behind it
        if self._used > _ARENA_BYTES:
            raise MemoryError("the simulation's address space is used up: allocate less in one process")
        return start

    def give_back(self, address: int, nbytes: int) -> None:
        first = (address - self._device) // _PAGE * _PAGE
        length = (address - self._device + nbytes - first + _PAGE - 1) // _PAGE * _PAGE
        pages = ctypes.c_void_p(self._device + self.shift + first)
        self._libc.madvise(pages, ctypes.c_size_t(length), _MADV_REMOVE)

    def _mapped(self, descriptor: int, protection: int) -> int:
        length, offset = ctypes.c_size_t(_ARENA_BYTES), ctypes.c_long(0)
        address = self._libc.mmap(None, length, protection, _MAP_SHARED, descriptor, offset)
        if address in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "cannot map the simulated device memory")
        return int(address)


@functools.cache
def _arena() -> _Arena:
    return _Arena()
