"""How pictures are cut into tiles: places alone, no pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .locality import Axis


@dataclass(frozen=True)
class Span:
    """A run of pixels, or of a tensor's elements, along one axis."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)

    def moved(self, by: int) -> Span:
        return Span(self.start + by, self.stop + by)

    def within(self, length: int) -> Span:
        return Span(max(self.start, 0), min(self.stop, length))

    def cut(self, length: int) -> list[Span]:
        """Parts of a length, the last first, which may be shorter."""
        starts = range(self.start, self.stop, length)
        return [Span(start, min(start + length, self.stop)) for start in reversed(starts)]


@dataclass(frozen=True)
class Grid:
    """A picture's tiles, which overlap by their margins.

    Attributes:
        rows, columns: the pixels of the tiles along each axis.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Row and column of each tile, the last first: it alone tells how long tensors of the whole are."""
        return product(reversed(range(len(self.rows))), reversed(range(len(self.columns))))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the largest tile."""
        return self.rows[0].length, self.columns[0].length

    @property
    def work(self) -> float:
        """Pixels of all tiles, as a multiple of the picture's."""
        seen = (sum(span.length for span in spans) / spans[-1].stop for spans in (self.rows, self.columns))
        return math.prod(seen)

    def __str__(self) -> str:
        height, width = self.shape
        return f"{len(self)} tiles of at most {height}x{width}, {self.work:.2f} times the work, the same labels"


def cheapest_grid(height: int, width: int, pixels: int, step: int, overlap: int) -> Grid:
    """The grid of least work whose tiles have no more than so many pixels; the smallest tiles where none are so small.

    Args:
        height, width: of the picture.
        pixels: of a tile at most, margins included.
        step: tiles begin at its multiples.
        overlap: that neighbouring tiles have in common, a multiple of it.
    """
    rows, columns = _cuts(height, step, overlap), _cuts(width, step, overlap)
    fitting = [Grid(high, wide) for high in rows for wide in columns if high[0].length * wide[0].length <= pixels]
    return min(fitting, key=lambda grid: (grid.work, len(grid)), default=Grid(rows[-1], columns[-1]))


def own_elements(spans: tuple[Span, ...], index: int, axis: Axis, length: int) -> tuple[Span, Span]:
    """What one tile gives of a tensor of the whole: what depends on nothing beyond the tile's inner borders.

    Args:
        spans: the pixels of all tiles.
        index: of the tile.
        axis: what the tensor's elements depend on.
        length: of the tile's own tensor.

    Returns:
        Where they lie in the tile's tensor, and where in the whole's.
    """
    origin = int(spans[index].start / axis.stride)
    start = _first_own(spans[index], axis) if index else 0
    stop = origin + length if index == len(spans) - 1 else _first_own(spans[index + 1], axis)
    return Span(start - origin, stop - origin), Span(start, stop)


def _first_own(span: Span, axis: Axis) -> int:
    return math.ceil((span.start - axis.first) / axis.stride)


def _cuts(pixels: int, step: int, overlap: int) -> list[tuple[Span, ...]]:
    """All ways to cut an axis into tiles of one length, the last shorter, from one tile to the shortest ones."""
    cuts: list[tuple[Span, ...]] = [(Span(0, pixels),)]
    lengths = {
        math.ceil((pixels + (count - 1) * overlap) / count / step) * step
        for count in range(2, math.ceil(pixels / step) + 1)
    }
    for length in sorted(lengths, reverse=True):
        if overlap < length < pixels:
            starts = range(0, pixels - overlap, length - overlap)
            cuts.append(tuple(Span(start, min(start + length, pixels)) for start in starts))
    return cuts
