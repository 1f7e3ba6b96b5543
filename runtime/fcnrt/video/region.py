"""A part of each frame that is labelled; the rest is void."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..contract.types import Array, UInt8Array, void_label
from ..errors import FrameError


class Region(NamedTuple):
    """A rectangle in pixels of the frame, from its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, pixels_hwc: UInt8Array) -> UInt8Array:
        """The region's pixels, a view; raises FrameError where it is not within the frame."""
        rows, columns = self._slices
        height, width = pixels_hwc.shape[:2]
        if rows.stop > height or columns.stop > width:
            raise FrameError(
                f"region: expected one within the frame of {width}x{height} pixels, "
                f"got {','.join(map(str, self))} (X,Y,W,H)"
            )
        return pixels_hwc[rows, columns]

    def embed(self, part_hw: Array, size: tuple[int, int]) -> Array:
        """What belongs to the region's pixels within a frame of size (height, width), void around it."""
        whole: Array = np.full(size, void_label(part_hw.dtype), part_hw.dtype)
        whole[self._slices] = part_hw
        return whole

    @property
    def _slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)
