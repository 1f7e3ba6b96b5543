"""Simulated streams: work that is queued with what it must wait for, and executed as late, or as early, as CUDA allows.

Three modes. `lazy` executes nothing until the host waits for it, and then only what stream order and events demand: a
missing wait leaves old data behind. `eager` executes at once: a buffer that is reused too early is overwritten while
somebody still reads it. `random` executes ready operations at random calls.

Pinned memory is read and written when a copy executes, not when it is queued. Since that is the host's to get wrong,
the source of a queued upload must be unchanged when it executes, and the target of a queued download is poisoned.

Not proved: timing, overlap, throughput; and that a queue of unlimited length is what a driver has.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .memory import POISON, Allocation, Memory, Use
from .misuse import Misuse

if TYPE_CHECKING:
    from .graphs import Capture

MODES = ("lazy", "eager", "random")


@dataclass(frozen=True)
class Work:
    """What an operation does once it executes.

    Attributes:
        name: for messages.
        run: the doing, which reaches memory by `Memory.view` alone.
        uses: (address, bytes) that must be alive when it is queued and when it runs.
        source: whether the first of `uses` is pinned memory that the host must leave alone until then.
        target: whether the last of `uses` is pinned memory whose content is undefined until then.
    """

    name: str
    run: Callable[[], None]
    uses: tuple[Use, ...] = ()
    source: bool = False
    target: bool = False


class Operation:
    """Work in a queue."""

    def __init__(self, work: Work, lane: object, after: Iterable[Operation], known: dict[object, int]):
        self.work = work
        self.name = work.name
        self.after = tuple(after)
        self.done = False
        self.checksum: int | None = None
        self.held: list[Allocation] = []
        self._lane = lane
        # A vector clock: per lane, the number of its operations that precede this one.
        self.clock = dict(known)
        for earlier in self.after:
            merge(self.clock, earlier.clock)
        self._index = self.clock[lane] = self.clock.get(lane, 0) + 1

    def follows(self, other: Operation) -> bool:
        """Whether it starts only once the other is done."""
        return self is not other and self.clock.get(other._lane, 0) >= other._index


class Stream:
    """A queue; a blocking one waits for the legacy default stream, which waits for all blocking ones."""

    def __init__(self, handle: int, device: int, blocking: bool, owner: str = "runtime"):
        self.handle, self.device, self.blocking, self.owner = handle, device, blocking, owner
        self.last: list[Operation] = []  # what the next operation follows
        self.lane = object()
        self.capture: Capture | None = None

    def follow(self, operations: Iterable[Operation]) -> None:
        """Hold what comes next until these are done as well."""
        found = list(dict.fromkeys([*self.last, *operations]))
        self.last = [op for op in found if not any(later.follows(op) for later in found)]

    @property
    def is_legacy(self) -> bool:
        return self.handle == 0


class Scheduler:
    """Executes operations in an order that their dependencies allow."""

    def __init__(self, memory: Memory, mode: str, seed: int):
        if mode not in MODES:
            raise ValueError(f"mode: expected one of {MODES}, got {mode!r}")
        self.mode = mode
        self.broken = False  # once the context is, what is queued never executes
        self.known: dict[object, int] = {}  # the host's clock: what it has waited for
        self._queued: dict[object, int] = {}  # the clock of all that was ever queued
        self._memory = memory
        self._random = random.Random(seed)
        self._diligence = self._random.choice((0.1, 0.4, 0.7))  # of the simulated device in random mode
        self._pending: dict[Operation, None] = {}

    def submit(self, work: Work, lane: object, after: Iterable[Operation]) -> Operation:
        """Queue work behind other operations."""
        operation = Operation(work, lane, after, self.known)
        operation.held = [self._memory.checked(*use, work.name) for use in work.uses]
        self._watch_pinned(operation)
        for allocation, use in zip(operation.held, work.uses, strict=True):
            allocation.pending.append(use)
        self._pending[operation] = None
        merge(self._queued, operation.clock)
        if self.mode == "eager":
            self.require([operation])
        return operation

    def require(self, operations: Iterable[Operation]) -> None:
        """Execute operations and all that they wait for, and nothing else."""
        stack = list(operations)
        while stack:
            operation = stack[-1]
            waiting = [earlier for earlier in operation.after if not earlier.done]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            if not operation.done:
                self._execute(operation)

    def wait(self, operations: Iterable[Operation]) -> None:
        """Let the host wait: what is queued from now on comes after these."""
        operations = list(operations)
        self.require(operations)
        for operation in operations:
            merge(self.known, operation.clock)

    def wait_for_all(self) -> None:
        """Let the host wait for everything that is queued."""
        self.require(list(self._pending))
        merge(self.known, self._queued)

    def tick(self) -> None:
        """In random mode, execute some of what is ready."""
        while self.mode == "random" and self._pending and self._random.random() < self._diligence:
            ready = [op for op in self._pending if all(earlier.done for earlier in op.after)]
            self._execute(self._random.choice(ready))

    def _execute(self, operation: Operation) -> None:
        operation.done, operation.after = True, ()
        del self._pending[operation]
        for allocation, use in zip(operation.held, operation.work.uses, strict=True):
            allocation.pending.remove(use)
        operation.held = []
        if self.broken:
            return
        self._check_pinned(operation)
        outer, self._memory.running = self._memory.running, operation
        try:
            operation.work.run()
        finally:
            self._memory.running = outer

    def _watch_pinned(self, operation: Operation) -> None:
        work = operation.work
        if work.source and operation.held[0].is_idle(work.uses[0]):
            operation.checksum = self._checksum(work)
        if work.target and operation.held[-1].is_idle(work.uses[-1]):
            address, nbytes = work.uses[-1]
            self._memory.unnoted(address, (nbytes,), "u1")[:] = POISON

    def _check_pinned(self, operation: Operation) -> None:
        for address, nbytes in operation.work.uses:
            self._memory.checked(address, nbytes, operation.name)
        if operation.checksum is not None and operation.checksum != self._checksum(operation.work):
            raise Misuse(f"{operation.name}: the host wrote to pinned memory while a copy from it was queued")

    def _checksum(self, work: Work) -> int:
        address, nbytes = work.uses[0]
        return zlib.crc32(self._memory.unnoted(address, (nbytes,), "u1"))


def merge(clock: dict[object, int], other: dict[object, int]) -> None:
    """Add what another clock knows."""
    for lane, index in other.items():
        if clock.get(lane, 0) < index:
            clock[lane] = index
