"""What a run of `fcnrt batch` has done so far, and how fast."""

from __future__ import annotations

import time

from ..cluster.work import Item, Items, Row
from ..errors import UsageError
from .terminal import complain

_FEWEST = 4  # rows of each worker, for a rate


class Tally:
    """Counts rows, and tells their errors.

    Args:
        max_errors: inputs that may fail; None: any number.
    """

    def __init__(self, max_errors: int | None):
        self._max_errors, self._started = max_errors, time.perf_counter()
        self.done, self.failed = 0, 0

    def add(self, row: Row) -> None:
        """Count a row, and tell its error; raises UsageError where there are too many."""
        self.done += 1
        if not row.error:
            return
        self.failed += 1
        complain(row.error if row.path in row.error else f"{row.path}: {row.error}")
        if self._max_errors is not None and self.failed > self._max_errors:
            well = self.done - self.failed
            raise UsageError(f"--max-errors {self._max_errors}: {self.failed} inputs failed, {well} were done")

    def summary(self) -> str:
        """How much was done, and in what time."""
        return f"{self.done} inputs in {time.perf_counter() - self._started:.1f} s, {self.failed} failed"


class Pace:
    """The rate at which frames are finished, from the first one on: the start of workers and engines is none of it.

    By the workers' clocks: Ray brings rows later, and in blocks.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int = 1) -> None:
        self._fewest, self._rows = _FEWEST * workers, 0
        self._first, self._last, self._frames, self._begun = float("inf"), float("-inf"), 0, 0

    def add(self, row: Row) -> None:
        """Count what a row has."""
        self._rows += 1
        self._frames += row.frames
        if row.finished < self._first:
            self._first, self._begun = row.finished, row.frames
        self._last = max(self._last, row.finished)

    @property
    def rate(self) -> float:
        """Frames per second; 0 where too few rows have come: what was begun before the first one would count."""
        if self._rows < self._fewest or self._last <= self._first:
            return 0.0
        return (self._frames - self._begun) / (self._last - self._first)


def spread(items: Items, count: int) -> tuple[list[Item], Items]:
    """So many of the items, evenly spread over them, and the others."""
    count = min(count, len(items))
    chosen = {index * len(items) // count for index in range(count)}
    sample = [item for index, item in enumerate(items) if index in chosen] if count else []
    others = Items(len(items) - count, lambda: (item for index, item in enumerate(items) if index not in chosen))
    return sample, others
