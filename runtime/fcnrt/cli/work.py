"""What workers do in a run of `fcnrt batch`, row by row: written down, counted, told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

from ..cluster.films import Films
from ..cluster.work import Item, Items, Row
from .crews import Label
from .tally import Pace, Tally
from .terminal import progress


class Work:
    """Gives items to workers, and takes their rows.

    Args:
        films: those of which workers have pieces.
        write: writes a row of an input down.
        tally: that counts inputs.
    """

    def __init__(self, films: Films, write: Callable[[Row], None], tally: Tally):
        self.tally, self._films, self._write = tally, films, write

    def do(self, items: Items | Sequence[Item], label: Label, workers: int) -> float:
        """Have items labelled by so many; the rate in frames per second, 0 where there are too few for one."""
        pace = Pace(workers)
        if not len(items):
            return pace.rate
        with contextlib.closing(label(items)) as rows:
            for row in progress(rows, self._films.unit, total=len(items)):
                pace.add(row)
                self.count(self._films.take(row))
        return pace.rate

    def count(self, rows: Iterable[Row]) -> None:
        """Write rows of inputs down, and count them."""
        for row in rows:
            self._write(row)
            self.tally.add(row)
