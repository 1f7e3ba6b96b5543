"""Workers that are processes of this machine: a killed one is replaced, and what it was at is done again."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from ..errors import BackendError, FcnrtError
from ..video.sources.pieces import Piece
from .films import Divider
from .places import SCRATCH
from .work import Item, Items, Row, Settings, Worker

AHEAD = 2  # pictures that each worker has before it


def label_on_processes(
    items: Items | Sequence[Item], settings: Settings, workers: int, max_restarts: int = 10
) -> Generator[Row, None, None]:
    """Label items on several processes.

    Args:
        items: in any order; rows come as they are done.
        settings: of each worker's Segmenter.
        workers: how many processes.
        max_restarts: how often workers that died are replaced, all together.

    Raises:
        BackendError: workers died more often.
        FcnrtError: as the Segmenter; before that, rows that are done.
    """
    return _done(items, partial(Worker, settings), workers, max_restarts)


def divide_on_processes(
    films: Sequence[Item], seconds: float, workers: int, max_restarts: int = 10
) -> Generator[tuple[Item, list[Piece]], None, None]:
    """Find the pieces of films on several processes; arguments, results and errors as `Divider` and above have them."""
    return _done(films, partial(Divider, seconds), workers, max_restarts)


def _done(
    items: Items | Sequence[Item], begin: Callable[[], Any], workers: int, max_restarts: int
) -> Generator[Any, None, None]:
    """What `begin().do`, in each of the processes, makes of the items."""
    waiting, deaths, done = _Waiting(iter(items)), 0, 0
    hands = [_Hand(begin) for _ in range(min(workers, len(items)))]
    try:
        while waiting or any(hand.in_flight for hand in hands):
            for hand in hands:
                hand.fill(waiting)
            if not any(hand.is_dead for hand in hands):
                wait([future for hand in hands for future in hand.in_flight], return_when=FIRST_COMPLETED)
            for index, hand in enumerate(hands):
                for result in hand.results():
                    done += 1
                    yield result
                if hand.is_dead:
                    deaths += 1
                    if deaths > max_restarts:
                        raise _died_too_often(deaths, len(items) - done)
                    waiting.give_back(hand.in_flight.values())
                    hand.close()
                    hands[index] = _Hand(begin)
    finally:
        for hand in hands:
            hand.close()


def _died_too_often(deaths: int, missing: int) -> BackendError:
    return BackendError(
        f"workers died {deaths} times (killed, or out of memory); {missing} inputs are missing: run the same command "
        "again, with fewer --workers if memory is short"
    )


class _Waiting:
    """Items that nobody has begun with; those that come back are the next."""

    def __init__(self, items: Iterator[Item]):
        self._items, self._next = items, deque[Item]()

    def __bool__(self) -> bool:
        self._next.extend(() if self._next else itertools.islice(self._items, 1))
        return bool(self._next)

    def first(self) -> Item:
        """The next item, which stays; there must be one."""
        return self._next[0]

    def take(self) -> Item:
        """The next item; there must be one."""
        return self._next.popleft()

    def give_back(self, items: Iterable[Item]) -> None:
        """Put items in front."""
        self._next.extendleft(items)


class _Hand:
    """A process, and the items that it has before it."""

    def __init__(self, begin: Callable[[], Any]):
        context = multiprocessing.get_context("spawn")  # engines do not survive a fork
        self._scratch = tempfile.TemporaryDirectory(prefix=SCRATCH)
        ends, self._held = context.Pipe(duplex=False)
        arguments = (begin, self._scratch.name, ends)
        self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=arguments)
        self.in_flight: dict[Future[Any], Item] = {}
        self.is_dead = False

    def fill(self, waiting: _Waiting) -> None:
        """Give it the next items, as far as it takes them: no more than one where that may take long."""
        while waiting and not self.is_dead and self._takes(waiting.first()):
            item = waiting.take()
            try:
                self.in_flight[self._pool.submit(_do, item)] = item
            except BrokenProcessPool:
                waiting.give_back([item])
                self.is_dead = True

    def results(self) -> Iterator[Any]:
        """What it has done since; items of a process that died stay in flight, to be done again."""
        for future in [future for future in self.in_flight if future.done()]:
            try:
                result = future.result()
            except BrokenProcessPool:
                self.is_dead = True
                return
            del self.in_flight[future]
            yield result

    def close(self) -> None:
        """End the process, at once where it is at something."""
        if self.in_flight:
            self._held.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._held.close()
        self._scratch.cleanup()

    def _takes(self, item: Item) -> bool:
        before = self.in_flight.values()
        return len(before) < AHEAD and not (before and (item.is_film or any(each.is_film for each in before)))


_worker: Any


def _begin(begin: Callable[[], Any], scratch: str, ends: Connection) -> None:
    global _worker
    tempfile.tempdir = scratch
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    threading.Thread(target=_end_with, args=(ends,), daemon=True).start()
    try:
        _worker = begin()
    except FcnrtError as error:  # told by the first item: what is raised here only breaks the pool
        _worker = error


def _end_with(ends: Connection) -> None:
    """End in the middle of an item when the other end of a pipe is closed: by the parent, or by its death."""
    ends.poll(None)
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)  # a parent that was killed cannot
    os._exit(1)


def _do(item: Item) -> Any:
    if isinstance(_worker, FcnrtError):
        raise _worker
    return _worker.do(item)
