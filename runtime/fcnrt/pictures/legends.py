"""Legends: the classes' colours and names, as a picture or in the corner of frames."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..contract.types import UInt8Array
from ..errors import FrameError, MissingDependency, pip_install
from .fonts import Face, Runs, note_on, runs

WHICH = ("present", "all")

# Letters of a thirtieth of the shorter side, down to a ninetieth where there are many classes.
_LARGEST_FONT, _SMALLEST_FONT, _LEGIBLE_PX = 30, 90, 9
_SHARE = 4  # a legend in a corner covers at most one part in these
_WEIGHT = 200  # its opacity in 256ths

_SEEN_PARTS = 10_000  # a class is listed once it has covered one part in these of a frame
_SEEN_SIDE = 480  # and is looked for in every pixel up to this size, in every second one up to twice this


def legend(classes: Sequence[str], palette: UInt8Array, font_px: int = 16, columns: int = 1) -> UInt8Array:
    """Draw a picture of the classes' colours and names, filled column by column.

    A name in letters that no font here has is drawn as its number; fcnrt.pictures.fonts.note_on says what to do.

    Args:
        classes: names, at least one.
        palette: (count, 3) uint8, RGB; the picture has its channel order.
        font_px: size of the letters in pixels.
        columns: largest number of columns.

    Returns:
        (H, W, 3) uint8, just large enough.

    Raises:
        FrameError: there is no class, a class without a colour, or no column.
        MissingDependency: Pillow is not installed.
    """
    if not 0 < len(classes) <= len(palette):
        raise FrameError(f"classes: expected 1 to {len(palette)} (the palette's length), got {len(classes)}")
    if columns < 1:
        raise FrameError(f"columns: expected at least 1, got {columns}")
    _require_pillow()
    return _Table(_rows(dict(enumerate(classes)), palette), font_px, columns).drawn()


class CornerLegend:
    """A legend in the upper left corner of frames, as large as they allow without covering more than a quarter.

    Where not all of its classes fit, the last line says how many more there are.

    Args:
        names: the classes that may be listed, by label.
        palette: (count, 3) uint8, RGB.
        which: "all" lists them all. "present" lists those that have been seen since `begin`, in the order of their
            labels: a class comes in when it first covers a ten-thousandth of a frame, and then stays, so that the
            legend does not flicker.

    Attributes:
        notes: one line for each thing that could not be drawn.
    """

    def __init__(self, names: Mapping[int, str], palette: UInt8Array, which: str = "present") -> None:
        self.notes: list[str] = []
        self._names, self._palette = names, palette
        self._seen: set[int] = set() if which == "present" else set(names)
        self._forgets = which == "present"
        self._made: tuple[object, _Corner | None] = (None, None)

    def begin(self) -> None:
        """Forget what has been seen: another film, or picture, begins."""
        if self._forgets:
            self._seen = set()

    def draw(self, picture_hwc: UInt8Array, labels_hw: npt.NDArray[Any]) -> None:
        """Draw into a picture, (H, W, 3) uint8, RGB, with labels (H, W) of an unsigned integer type."""
        if len(self._seen) < len(self._names):
            self._seen |= seen_in(labels_hw) & self._names.keys()
        if self._seen and (corner := self._corner((picture_hwc.shape[0], picture_hwc.shape[1]))):
            corner.draw(picture_hwc)

    def _corner(self, size: tuple[int, int]) -> _Corner | None:
        key = size, tuple(sorted(self._seen))
        if self._made[0] != key:
            self._made = key, self._fitted(key[1], size)
        return self._made[1]

    def _fitted(self, listed: Iterable[int], size: tuple[int, int]) -> _Corner | None:
        _require_pillow()
        names = {label: self._names[label] for label in listed}
        fitting = _fitting(_rows(names, self._palette), size)
        self._note(note_on(self._names.values()))
        if not fitting:
            self._note(f"no legend fits into frames of {size[0]}x{size[1]}")
        return fitting

    def _note(self, text: str | None) -> None:
        if text and text not in self.notes:
            self.notes.append(text)


def seen_in(labels_hw: npt.NDArray[Any]) -> set[int]:
    """The labels that cover a ten-thousandth of a frame, one pixel at least."""
    step = max(1, min(labels_hw.shape) // _SEEN_SIDE)
    looked_at = labels_hw[::step, ::step]
    counts = np.bincount(looked_at.ravel())
    return set(np.flatnonzero(counts >= max(1, looked_at.size // _SEEN_PARTS)).tolist())


class _Row(NamedTuple):
    runs: Runs
    colour: tuple[int, ...] | None = None


def _rows(names: Mapping[int, str], palette: UInt8Array) -> list[_Row]:
    """A row for each class; the label where no font has the letters of its name."""
    return [
        _Row(runs(name) or ((str(label), Face()),), tuple(map(int, palette[label]))) for label, name in names.items()
    ]


class _Table:
    """Rows in letters of one size, filled column by column.

    Attributes:
        size: (height, width) of the picture of it.
    """

    def __init__(self, rows: Sequence[_Row], font_px: int, columns: int) -> None:
        self._rows, self._font_px, self._row_px = rows, font_px, _row_px(font_px)
        self._per_column = -(-len(rows) // columns)
        self._column_px = 3 * font_px + max(_width_px(row, font_px) for row in rows)
        self.size = self._row_px * self._per_column, self._column_px * -(-len(rows) // self._per_column)

    def drawn(self) -> UInt8Array:
        """(height, width, 3) uint8, on white."""
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", self.size[::-1], "white")
        draw = ImageDraw.Draw(picture)
        for index, row in enumerate(self._rows):
            column, line = divmod(index, self._per_column)
            self._draw_row(draw, row, column * self._column_px + self._font_px // 2, line * self._row_px)
        return np.array(picture)

    def _draw_row(self, draw: Any, row: _Row, x: float, top: int) -> None:
        side = self._font_px
        if row.colour:
            y = top + (self._row_px - side) // 2
            draw.rectangle((x, y, x + side, y + side), fill=row.colour, outline="black")
        x, baseline = x + side * 3 // 2, top + self._row_px // 2 + round(0.36 * side)
        for text, face in row.runs:
            font = face.at(side)
            draw.text((x, baseline), text, fill="black", font=font, anchor="ls")
            x += font.getlength(text)


def _row_px(font_px: int) -> int:
    return font_px * 8 // 5


def _width_px(row: _Row, font_px: int) -> int:
    return int(np.ceil(sum(face.at(font_px).getlength(text) for text, face in row.runs)))


class _Corner:
    """A legend made for one size of frames, in their upper left corner."""

    def __init__(self, legend_hwc: UInt8Array, margin_px: int) -> None:
        height, width, _ = legend_hwc.shape
        self._corner = slice(margin_px, margin_px + height), slice(margin_px, margin_px + width)
        self._weighted = legend_hwc.astype(np.uint16) * np.uint16(_WEIGHT) + np.uint16(128)

    def draw(self, picture_hwc: UInt8Array) -> None:
        ground = picture_hwc[self._corner]
        mixed = np.multiply(ground, np.uint16(256 - _WEIGHT), dtype=np.uint16)
        mixed += self._weighted
        mixed >>= 8
        ground[...] = mixed


def _fitting(rows: Sequence[_Row], size: tuple[int, int]) -> _Corner | None:
    """The legend in the largest letters that fits into frames of `size`, or with the most classes; or None."""
    largest, smallest = (max(round(min(size) / part), _LEGIBLE_PX) for part in (_LARGEST_FONT, _SMALLEST_FONT))
    for font_px in range(largest, smallest - 1, -1):
        if table := _table(rows, font_px, size):
            return _Corner(table.drawn(), font_px // 2)
    count = bisect.bisect_left(range(1, len(rows)), True, key=lambda n: not _table(_first(rows, n), smallest, size))
    table = _table(_first(rows, count), smallest, size) if count else None
    return _Corner(table.drawn(), smallest // 2) if table else None


def _first(rows: Sequence[_Row], count: int) -> list[_Row]:
    """Some of the rows, and one that says how many more there are."""
    return [*rows[:count], _Row(((f"and {len(rows) - count} more", Face()),))]


def _table(rows: Sequence[_Row], font_px: int, size: tuple[int, int]) -> _Table | None:
    """The table in letters of this size, or None if it does not fit."""
    height, width = (side - 2 * (font_px // 2) for side in size)
    if height < _row_px(font_px):
        return None
    table = _Table(rows, font_px, columns=-(-len(rows) // (height // _row_px(font_px))))
    fits = table.size[0] <= height and table.size[1] <= width
    return table if fits and table.size[0] * table.size[1] * _SHARE <= size[0] * size[1] else None


def _require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"a legend needs Pillow: {pip_install('fcnrt[video]')}") from error
