"""Pictures that are read, and labelled, a part at a time."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import FrameError
from .frames import checked_batch
from .types import LabelArray, Shape, UInt8Array

EXPECTED = "picture: expected something of shape (H, W, 3) that gives uint8 arrays for picture[rows, columns]"


class Picture(Protocol):
    """What gives the pixels (h, w, 3) uint8 of two slices: an array, a memory map, a raster that is read by windows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3)."""
        ...

    def __getitem__(self, part: tuple[slice, slice], /) -> Any:
        """Read a part."""
        ...


class Window(NamedTuple):
    """A part of a picture, and its labels (h, w)."""

    rows: slice
    columns: slice
    labels: LabelArray


class PictureFrames:
    """A picture as a batch of one frame, of which parts are read when they are asked for.

    Args:
        picture: whose parts are checked when they have been read.

    Raises:
        FrameError: it has another shape.
    """

    def __init__(self, picture: Picture):
        shape = getattr(picture, "shape", None)
        if not isinstance(shape, tuple) or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise FrameError(f"{EXPECTED}, got {type(picture).__name__} of shape {shape}")
        self._picture = picture
        self.shape = (1, int(shape[0]), int(shape[1]), 3)

    @property
    def frames(self) -> Shape:
        """Batch, height and width."""
        return self.shape[:3]

    def __getitem__(self, part: tuple[slice, slice, slice]) -> UInt8Array:
        _, rows, columns = part
        pixels = checked_batch(np.asarray(self._picture[rows, columns]))
        expected = rows.stop - rows.start, columns.stop - columns.start
        if pixels.shape[1:3] != expected:
            raise FrameError(f"{EXPECTED}: expected {expected} pixels of a part, got {pixels.shape[1:3]}")
        return pixels

    def whole(self) -> UInt8Array:
        """All pixels, (1, H, W, 3)."""
        return np.ascontiguousarray(self[:, 0 : self.shape[1], 0 : self.shape[2]])
