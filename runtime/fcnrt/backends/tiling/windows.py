"""The labels of a picture window by window, as its tiles are computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ...contract.tail import Tail
from ...contract.types import LabelArray, Labels, label_dtype
from ...contract.windows import PictureFrames, Window
from ...ops.host import LabelUpsampler, argmax_labels
from .grid import Grid
from .tiled import Band, TiledNetwork

WINDOW_PIXELS = 1 << 24  # that are upsampled at once

Size = tuple[int, int]


def windows_by_tile(network: TiledNetwork, picture: PictureFrames, grid: Grid, tail: Tail) -> Iterator[Window]:
    """The labels of a picture, the last rows first; raises BackendError, and what reading the picture raises."""
    size = picture.frames[1:]
    if tail.kind == "none":
        return _of_full_size(network, picture, grid, tail.offset, size)
    bands = network.bands(picture, grid)
    return (window for band in bands for window in _of_band(band, tail, size))


def _of_full_size(
    network: TiledNetwork, picture: PictureFrames, grid: Grid, offset: int, size: Size
) -> Iterator[Window]:
    for piece in network.pieces(picture, grid):
        values, (_, rows, columns) = piece.cropped(offset, size)
        yield Window(rows, columns, _labels(values.shape[1:], partial(argmax_labels, values)))


def _of_band(band: Band, tail: Tail, size: Size) -> Iterator[Window]:
    rows_at_once = max(1, WINDOW_PIXELS * band.length // math.prod(size))
    for rows in band.rows.cut(rows_at_once):
        scores = band.part(rows)
        _, classes, _, width = scores.shape
        upsample = LabelUpsampler(tail, (1, classes, band.length, width), size, band=rows.slice)
        shape = classes, upsample.rows.stop - upsample.rows.start, size[1]
        yield Window(upsample.rows, slice(0, size[1]), _labels(shape, partial(upsample, scores)))


def _labels(shape: tuple[int, ...], write: Callable[[Labels], None]) -> LabelArray:
    """Labels (h, w) of logits (C, h, w), from what writes those of a batch of one."""
    classes, *size = shape
    labels: LabelArray = np.empty(size, label_dtype(classes))
    write(labels[None])
    return labels
