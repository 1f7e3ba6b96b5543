"""What viewers see: labels in colours over their frame, lines between the classes, a legend in the corner."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract.types import UInt8Array
from ..errors import FrameError
from .legends import CornerLegend
from .palette import overlay

_LINE_SIDE = 480  # a line grows by a pixel for each of these that the shorter side has

# Of ITU-R BT.709, in 256ths.
_LUMA_WEIGHTS = np.array([54, 183, 19], dtype=np.uint16)


class Drawing:
    """Draws labels over the frames that they belong to, at full resolution.

    Args:
        palette: (count, 3) uint8, RGB, a colour for every label.
        alpha: opacity of the colours in [0, 1]; 0 leaves the frame as it is, 1 shows the pure colours.
        boundaries: draw a line wherever two classes meet, white on dark and black on bright ground, one pixel wide
            at 480 rows and wider in proportion.
        legend: the classes' names for a legend in the upper left corner, as large as the frame allows without
            covering more than a quarter of it; None for no legend.
        legend_of: "present": the legend lists the classes that have been seen since `begin`, which stay in it; "all":
            it lists them all.
        only: the numbers of the classes that are drawn; where there is another one, or void, the frame stays as it is.
            None: all, and void is an error.

    Raises:
        FrameError: alpha is not in [0, 1], or a name has no colour.
    """

    def __init__(
        self,
        palette: UInt8Array,
        alpha: float = 0.5,
        *,
        boundaries: bool = False,
        legend: Sequence[str] | None = None,
        legend_of: str = "present",
        only: Collection[int] | None = None,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise FrameError(f"alpha: expected a number in 0..1, got {alpha}")
        if legend and len(legend) > len(palette):
            raise FrameError(f"legend: expected at most {len(palette)} names (the palette's length), got {len(legend)}")
        self._palette, self._alpha = palette, alpha
        self._boundaries, self._only = boundaries, None if only is None else sorted(only)
        shown = range(len(palette)) if self._only is None else self._only
        names = {index: legend[index] for index in shown if index < len(legend)} if legend else {}
        self._legend = CornerLegend(names, palette, legend_of)

    @property
    def notes(self) -> list[str]:
        """One line for each thing that could not be drawn."""
        return self._legend.notes

    def begin(self) -> None:
        """Another film or picture begins: what the legend lists is what is seen from here on."""
        self._legend.begin()

    def __call__(self, frame_hwc: UInt8Array, labels_hw: npt.NDArray[Any], out: UInt8Array | None = None) -> UInt8Array:
        """Draw.

        Args:
            frame_hwc: (H, W, 3) uint8, RGB.
            labels_hw: (H, W) uint8 or uint16.
            out: (H, W, 3) uint8 to draw into, the frame itself allowed; a new array by default.

        Returns:
            `out`.

        Raises:
            FrameError: a shape, a dtype or a label is outside of the above.
            MissingDependency: a legend is wanted and Pillow is not installed.
        """
        given_hw = labels_hw
        if self._only is None:
            picture = overlay(frame_hwc, labels_hw, self._palette, self._alpha, out)
        else:
            picture, labels_hw = self._draw_some(frame_hwc, labels_hw, out)
        if self._boundaries:
            draw_boundaries(picture, labels_hw)
        self._legend.draw(picture, given_hw)
        return picture

    def _draw_some(
        self, frame_hwc: UInt8Array, labels_hw: npt.NDArray[Any], out: UInt8Array | None
    ) -> tuple[UInt8Array, npt.NDArray[Any]]:
        """The overlay of the classes that are drawn, and the labels with one number for all that are not."""
        left_out = ~np.isin(labels_hw, np.array(self._only, labels_hw.dtype), kind="table")
        untouched = frame_hwc[left_out]  # a copy: `out` may be the frame
        drawn = np.where(left_out, labels_hw.dtype.type(0), labels_hw)
        picture = overlay(frame_hwc, drawn, self._palette, self._alpha, out)
        picture[left_out] = untouched
        return picture, np.where(left_out, np.int32(-1), labels_hw)


def draw_boundaries(picture_hwc: UInt8Array, labels_hw: npt.NDArray[Any]) -> None:
    """Draw a line wherever two classes meet, black where the picture is bright and white where it is dark.

    Args:
        picture_hwc: (H, W, 3) uint8, RGB; drawn into.
        labels_hw: (H, W) of any integer type.
    """
    width_px = max(1, round(min(labels_hw.shape) / _LINE_SIDE))
    where: Any = np.flatnonzero(_boundaries(labels_hw, width_px))
    pixels = picture_hwc
    if picture_hwc.flags.c_contiguous:  # one index per pixel is twice as fast as two
        pixels = picture_hwc.reshape(-1, 3)
    else:
        where = np.unravel_index(where, labels_hw.shape)
    luma = pixels[where] @ _LUMA_WEIGHTS >> 8
    pixels[where] = np.where(luma < 128, np.uint8(255), np.uint8(0))[:, None]


def _boundaries(labels_hw: npt.NDArray[Any], width_px: int) -> npt.NDArray[np.bool_]:
    """Mark where labels that lie `width_px` apart differ: a line just that wide, with the boundary in its middle."""
    height, width = labels_hw.shape
    marked = np.zeros((height, width), dtype=np.bool_)
    shift = width_px // 2
    beside = labels_hw[:, :-width_px] != labels_hw[:, width_px:]
    marked[:, shift : shift + beside.shape[1]] = beside
    below = labels_hw[:-width_px] != labels_hw[width_px:]
    marked[shift : shift + below.shape[0]] |= below
    return marked
