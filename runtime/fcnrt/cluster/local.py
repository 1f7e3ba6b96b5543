"""Workers that are processes of this machine: a killed one is replaced, and what it was at is done again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from ..errors import BackendError, FcnrtError
from .work import Item, Row, Settings, Worker

AHEAD = 2  # items that each worker has before it


def label_on_processes(
    items: Sequence[Item], settings: Settings, workers: int, max_restarts: int = 10
) -> Generator[Row, None, None]:
    """Label items on several processes.

    Args:
        items: in any order; rows come as they are done.
        settings: of each worker's Segmenter.
        workers: how many processes.
        max_restarts: how often workers that died are replaced.

    Raises:
        BackendError: workers died more often.
        FcnrtError: as the Segmenter; before that, rows that are done.
    """
    waiting = deque(items)
    for _ in range(max_restarts + 1):
        pool = _pool(settings, min(workers, len(waiting)))
        in_flight: dict[Future[Row], Item] = {}
        try:
            yield from _label(pool, waiting, in_flight, workers)
            return
        except BrokenProcessPool:
            waiting.extendleft(in_flight.values())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    raise BackendError(
        f"workers died {max_restarts + 1} times (killed, or out of memory); {len(waiting)} inputs are missing: run the "
        "same command again, with fewer --workers if memory is short"
    )


def _label(
    pool: ProcessPoolExecutor, waiting: deque[Item], in_flight: dict[Future[Row], Item], workers: int
) -> Iterator[Row]:
    while waiting or in_flight:
        while waiting and len(in_flight) < workers * AHEAD:
            item = waiting.popleft()
            try:
                in_flight[pool.submit(_do, item)] = item
            except BrokenProcessPool:
                waiting.appendleft(item)
                raise
        done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
        for future in done:
            row = future.result()  # else the item stays in flight, to be done again
            del in_flight[future]
            yield row


def _pool(settings: Settings, workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # engines do not survive a fork
    return ProcessPoolExecutor(max(1, workers), context, initializer=_begin, initargs=(settings,))


_worker: Worker | FcnrtError


def _begin(settings: Settings) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _worker = Worker(settings)
    except FcnrtError as error:  # told by the first item: what is raised here only breaks the pool
        _worker = error


def _end_with_parent() -> None:
    """A parent that was killed tells nobody, and its workers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(item: Item) -> Row:
    if isinstance(_worker, FcnrtError):
        raise _worker
    return _worker.do(item)
