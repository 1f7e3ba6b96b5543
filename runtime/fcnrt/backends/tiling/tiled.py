"""Pictures of any size in bounded memory: a network sees them tile by tile, and gives the scores of the whole.

Tiles overlap by the network's receptive field, begin on its lattice, and are put together before the last step, which
then runs over the whole: the numbers are those that the whole picture would have given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import copy
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np

from ...contract.types import Array, Frames, Scores, Shape
from ...contract.windows import PictureFrames
from ...errors import UsageError
from ..base import Tile
from ..memory import available_bytes
from ..network import CpuNetwork, Part
from ..onnx_model import OnnxModel
from ..recent import Recent
from .grid import Grid, Span, cheapest_grid, own_elements
from .locality import Locality, locality_of

MAX_GRIDS = 64  # that are kept
SHARE = 0.75  # of the memory that is free, for the network; the rest is for pictures and labels
OVERHEAD = 2.0  # of engines: they take more than the tensors held at the same time

OpenPart = Callable[[Part], CpuNetwork]


class Piece(NamedTuple):
    """What one tile gives of a tensor (N, C, h, w) of the whole picture: where, and the values."""

    rows: Span
    columns: Span
    values: Array

    def cropped(self, offset: int, size: tuple[int, int]) -> tuple[Array, tuple[slice, slice, slice]]:
        """The values that are pixels of frames, which begin at an offset, and where they lie in arrays (N, H, W)."""
        places = [span.moved(-offset).within(side) for span, side in zip((self.rows, self.columns), size, strict=True)]
        rows, columns = (
            place.moved(offset - span.start) for place, span in zip(places, (self.rows, self.columns), strict=True)
        )
        return self.values[..., rows.slice, columns.slice], (slice(None), places[0].slice, places[1].slice)


class Band(NamedTuple):
    """Rows of the scores (1, C, h, w) of the whole picture, which has them from side to side.

    Attributes:
        rows: which they are.
        length: how many the whole has.
        values: of these rows and, but for the last of the whole, of the one behind them.
    """

    rows: Span
    length: int
    values: Scores

    def part(self, rows: Span) -> Scores:
        """Some of its rows, and the one behind them."""
        return self.values[:, :, rows.start - self.rows.start : rows.stop + 1 - self.rows.start]


class Tiling:
    """Which pictures are cut, and how.

    Args:
        model: the file, its graph as it was read.
        tile: "auto" for what would not fit in memory, "off", or the side of a square: tiles have no more pixels.

    Attributes:
        locality: None where there are no tiles.

    Raises:
        UsageError: there is a side, and this file cannot have tiles, or none so small.
    """

    def __init__(self, model: OnnxModel, tile: Tile):
        self._tile, self._largest_whole = tile, 0
        self._grids: Recent[Grid] = Recent(MAX_GRIDS)
        self.locality = None if tile == "off" else _locality(model, by_hand=tile != "auto")
        if self.locality and isinstance(tile, int) and tile < self.locality.smallest_tile:
            raise UsageError(
                f"tile: expected at least {self.locality.smallest_tile} (each label depends on {self.locality.field} "
                f"pixels along an axis, in steps of {self.locality.step}), got {tile}"
            )

    def clone(self) -> Tiling:
        """One for another thread."""
        other = copy(self)
        other._grids = Recent(MAX_GRIDS)
        return other

    def grid(self, shape: Shape) -> Grid | None:
        """The tiles of frames of a shape, as the network sees them; None where they are computed whole."""
        if self.locality is None:
            return None
        locality = self.locality
        grid = self._grids.get(shape, lambda: self._cut(shape, locality))
        return grid if len(grid) > 1 else None

    def _cut(self, shape: Shape, locality: Locality) -> Grid:
        batch, height, width = shape
        pixels = self._tile**2 if isinstance(self._tile, int) else self._pixels_that_fit(shape, locality) // batch
        return cheapest_grid(height, width, pixels, locality.step, locality.overlap)

    def _pixels_that_fit(self, shape: Shape, locality: Locality) -> int:
        """How many pixels the network may see at once; for what it saw before, it has the memory already."""
        each, wanted, free = locality.bytes_per_pixel * OVERHEAD, int(np.prod(shape)), available_bytes()
        fit = wanted if free == math.inf else self._largest_whole + int(SHARE * free / each)
        self._largest_whole = max(self._largest_whole, min(wanted, fit))
        return fit


class TiledNetwork:
    """A network that sees tiles.

    Args:
        locality: of the model.
        network: of the whole model, up to the scores.
        open_part: opens a network of a part of the model.
        mark: called with "tile" when one was computed.
    """

    def __init__(
        self, locality: Locality, network: CpuNetwork, open_part: OpenPart, mark: Callable[[str], None]
    ) -> None:
        self._tensors, self._mark = list(locality.parts.values()), mark
        self._body, self._head = network, None
        if locality.has_head:
            self._body = open_part(Part(outputs=locality.parts))
            self._head = open_part(Part(inputs=locality.parts))

    @property
    def has_head(self) -> bool:
        """Whether the scores come only when all tiles are done."""
        return self._head is not None

    def scores(self, frames: Frames | PictureFrames, grid: Grid) -> Scores:
        """The scores of whole frames, in a new array; raises BackendError."""
        wholes: list[Array] = []
        for pieces in self._tiles(frames, grid):
            wholes = wholes or [_empty_whole(piece) for piece in pieces]
            for whole, piece in zip(wholes, pieces, strict=True):
                whole[..., piece.rows.slice, piece.columns.slice] = piece.values
        return self._head.run(wholes)[0] if self._head else wholes[0]

    def pieces(self, frames: Frames | PictureFrames, grid: Grid) -> Iterator[Piece]:
        """The scores tile by tile, the last first, where there is no head, else at once; raises BackendError."""
        if self._head:
            scores = self.scores(frames, grid)
            return iter([Piece(Span(0, scores.shape[2]), Span(0, scores.shape[3]), scores)])
        return (piece for (piece,) in self._tiles(frames, grid))

    def bands(self, frames: Frames | PictureFrames, grid: Grid) -> Iterator[Band]:
        """The scores one row of tiles after the other, the last first; raises BackendError."""
        length, behind = 0, None
        for rows, pieces in groupby(self.pieces(frames, grid), key=lambda piece: piece.rows):
            length = length or rows.stop
            values = _put_beside(pieces, behind)
            yield Band(rows, length, values)
            behind = values[:, :, :1].copy()

    def close(self) -> None:
        """Free what it has opened; a second call does nothing."""
        if self._head:
            self._body.close()
            self._head.close()

    def _tiles(self, frames: Frames | PictureFrames, grid: Grid) -> Iterator[list[Piece]]:
        """What each tile gives of each tensor; the last tile comes first, whose pieces end where the whole ends."""
        for row, column in grid:
            pixels = frames[:, grid.rows[row].slice, grid.columns[column].slice]
            parts = self._body.run([np.ascontiguousarray(pixels)])
            self._mark("tile")
            pieces = []
            for part, tensor in zip(parts, self._tensors, strict=True):
                rows, whole_rows = own_elements(grid.rows, row, tensor.rows, part.shape[2])
                columns, whole_columns = own_elements(grid.columns, column, tensor.columns, part.shape[3])
                pieces.append(Piece(whole_rows, whole_columns, part[..., rows.slice, columns.slice]))
            yield pieces


def _put_beside(pieces: Iterator[Piece], behind: Scores | None) -> Scores:
    """The values of a row of tiles, which come from right to left, and those of the row behind it."""
    last = next(pieces)
    batch, classes = last.values.shape[:2]
    height = last.rows.length
    values = np.empty((batch, classes, height + (behind is not None), last.columns.stop), last.values.dtype)
    for piece in chain([last], pieces):
        values[:, :, :height, piece.columns.slice] = piece.values
    if behind is not None:
        values[:, :, height:] = behind
    return values


def _empty_whole(last: Piece) -> Array:
    return np.empty((*last.values.shape[:2], last.rows.stop, last.columns.stop), last.values.dtype)


def _locality(model: OnnxModel, by_hand: bool) -> Locality | None:
    try:
        if any(model.fixed_shape[1:]):
            raise UsageError(f"tile: {model.path.name} is fixed to one size; export without --height and --width")
        return locality_of(model)
    except UsageError:
        if by_hand:
            raise
        return None
