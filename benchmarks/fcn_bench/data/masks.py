"""Label maps in files: indices, other values, or colours, as class indices with 255 for what is not annotated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fcnrt.contract.types import UInt8Array

from ..metrics import VOID
from .errors import DataError

FORMATS, SUFFIXES = ("PNG", "BMP", "TIFF"), (".png", ".bmp", ".tif", ".tiff")  # those that lose nothing
DEPTHS = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")  # of indices and other values
SHOWN = 5  # values or colours in a complaint

Values = npt.NDArray[np.int64]
Table = tuple[Values, UInt8Array]  # values in order, and the class of each


@dataclass(frozen=True)
class MaskReader:
    """Reads the masks of one data set.

    Args:
        classes: how many there are.
        values: what stands in a mask for each class; 0, 1, 2, ... by default.
        void: values that mean "not annotated"; 255 does as well, unless a class has it.
        colours: (classes, 3) RGB of each class in masks that are colours, or None where such masks are refused.
        void_colours: colours that mean "not annotated".
    """

    classes: int
    values: tuple[int, ...] = ()
    void: frozenset[int] = frozenset()
    colours: UInt8Array | None = None
    void_colours: tuple[tuple[int, int, int], ...] = ()

    def __call__(self, path: Path) -> UInt8Array:
        """Classes (H, W) uint8, 255 where not annotated.

        Raises:
            DataError: the file cannot be read, or holds what is neither a class nor void.
        """
        stored = _stored(path)
        if stored.ndim == 3 and self.colours is None:
            raise DataError(
                f"{path}: a mask in colours; which class has which? write their 'R G B' to palette.txt beside the "
                "data, a line for each class, or name such a file by --palette"
            )
        if stored.ndim == 3:
            values, table, expected = _packed(stored), self._of_colours, f"the colours of {self.classes} classes"
        else:
            values, table, expected = stored, self._of_values, f"{self._named_values} or {VOID} for void"
        indices, known = _looked_up(values, table)
        if not known.all():
            raise DataError(
                f"{path}: expected {expected}, got {_strange(values[~known], stored.ndim == 3, known.size)}"
            )
        return indices

    @cached_property
    def _of_values(self) -> Table:
        values = self.values or range(self.classes)
        table = {value: index for index, value in enumerate(values) if value not in self.void}
        return _sorted({**dict.fromkeys(self.void, VOID), VOID: VOID} | table)

    @cached_property
    def _of_colours(self) -> Table:
        void, colours = (_packed(np.array(some).reshape(-1, 3)).tolist() for some in (self.void_colours, self.colours))
        if len(set(colours)) < len(colours):
            raise DataError("palette: two classes have the same colour, and masks of colours cannot tell them apart")
        return _sorted({colour: index for index, colour in enumerate(colours)} | dict.fromkeys(void, VOID))

    @property
    def _named_values(self) -> str:
        return f"values {', '.join(map(str, self.values))}" if self.values else f"classes 0 to {self.classes - 1}"


def _stored(path: Path) -> npt.NDArray[Any]:
    """What stands in the file: converting a palette PNG to RGB or grey would make colours of its indices."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            mode, stored = picture.mode, np.asarray(picture)
    except Exception as error:  # a damaged file can make a decoder raise nearly anything
        raise DataError(f"{path}: cannot read this mask as {' or '.join(FORMATS)} ({error})") from error
    if mode in ("RGB", "RGBA"):
        return stored[..., :3]
    if mode not in DEPTHS:
        raise DataError(f"{path}: expected a mask of class indices or of RGB colours, got one of mode {mode}")
    return stored.astype(np.uint8) if mode == "1" else stored


def _packed(colours: npt.NDArray[Any]) -> Values:
    """RGB (..., 3) as one number each."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _sorted(table: dict[int, int]) -> Table:
    keys = np.array(sorted(table), np.int64)
    return keys, np.array([table[int(key)] for key in keys], np.uint8)


def _looked_up(values: npt.NDArray[Any], table: Table) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
    """Class indices, and where there are any."""
    if values.dtype == np.uint8:
        indices, known = _looked_up(np.arange(VOID + 1), table)
        return indices[values], known[values]
    keys, indices = table
    places = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return indices[places], keys[places] == values


def _strange(values: npt.NDArray[Any], are_colours: bool, pixels: int) -> str:
    found = np.unique(values).tolist()
    words = [f"{value >> 16},{value >> 8 & VOID},{value & VOID}" if are_colours else str(value) for value in found]
    shown = " and ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")
    return f"{shown} ({values.size / pixels:.2%} of it); if that is not annotated add --void {words[0]}"
