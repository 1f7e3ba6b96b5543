"""Live inputs side by side: each in a thread of its own, with a clone of the engine."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator, Sequence

from ..video.addresses import STDIN, is_generated, is_stream
from .jobs import Job
from .run import Run

_LIVE_TEST = "test-live:"


def may_be_live(job: Job) -> bool:
    """Whether an input may not wait for others: an address or a camera."""
    where = job.source
    return where.startswith(_LIVE_TEST) or (is_stream(where) and not is_generated(where) and where != STDIN)


@contextlib.contextmanager
def running_beside(jobs: Sequence[Job], make_run: Callable[[], Run]) -> Iterator[list[Run]]:
    """Do jobs in threads while the block runs, and wait for them at its end; an interrupt ends them all.

    Args:
        jobs: one for each thread.
        make_run: makes what does them, with a Segmenter of its own.

    Yields:
        what does them.
    """
    runs = [make_run() for _ in jobs]
    threads = [
        threading.Thread(target=_do, args=(run, job), name=f"fcnrt {job.source}", daemon=True)
        for run, job in zip(runs, jobs, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield runs
        for thread in threads:
            thread.join()
    finally:
        for run in runs:
            run.stop()
        for run, thread in zip(runs, threads, strict=True):
            thread.join(run.patience_s)
        gc.collect()  # engines that a traceback still holds would be alive when the process ends, and abort it


def _do(run: Run, job: Job) -> None:
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(run):  # the main thread has it too
        run.do(job)
