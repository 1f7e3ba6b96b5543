"""Pictures as a video: a folder, pattern or sequence of them, or one that moves."""

from __future__ import annotations

import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Literal

from ...contract.types import UInt8Array
from ...errors import MediaError
from ...pictures.inputs import find, is_video
from ...pictures.reading import Levels, animation_length, read_animation, read_image
from ..frames import Frame
from .reader import Reader

DEFAULT_RATE = Fraction(25)
_TOLD = 5  # unreadable pictures that are named; the rest is counted


class Stills(Reader):
    """Reads pictures one after the other, in natural order of their names; their sizes may differ.

    One that cannot be read is passed over, and counts as one of the "unreadable pictures" among the faults; the picture
    before it stands for longer.

    Args:
        where: a folder, a glob pattern, a sequence such as frame_%04d.png, or a picture.
        rate: pictures per second.
        levels, max_pixels: as `read_image` has them.

    Attributes:
        notes: one line for each thing that was not as it should be.

    Raises:
        MediaError: there is no picture, a video among them, or none can be read.
        MissingDependency: Pillow is not installed.
    """

    color: Literal["rgb", "nv12"] = "rgb"
    live = False

    def __init__(
        self,
        where: str | Path,
        *,
        rate: Fraction | int = DEFAULT_RATE,
        levels: Levels | None = None,
        max_pixels: int | None = None,
    ) -> None:
        super().__init__()
        self.name, self.rate, self.faults = str(where), Fraction(rate), Counter[str]()
        self._levels, self._max_pixels = levels, max_pixels
        found = find(where)
        self._paths, self.notes = found.paths, [found.note] if found.note else []
        for video in filter(is_video, self._paths):
            raise MediaError(f"{where}: expected pictures alone, found {video} among them; name it, or the pictures")
        self._number, self.frame_count = 0, len(self._paths)
        self._error = MediaError(f"{where}: expected a picture, found none")
        self._first: UInt8Array | None = self._next_readable()
        if self._first is None:
            raise self._error
        self.size = self._first.shape[:2]

    def _read(self) -> Frame | None:
        pixels, self._first = self._first, None
        pixels = self._next_readable() if pixels is None else pixels
        number = self._number - 1
        return None if pixels is None else Frame(pixels, number / self._steady, number, time.monotonic())

    def _release(self) -> None:
        self._first = None

    @property
    def _steady(self) -> Fraction:
        return self.rate or DEFAULT_RATE

    def _next_readable(self) -> UInt8Array | None:
        while self._number < len(self._paths):
            path = self._paths[self._number]
            self._number += 1
            try:
                return read_image(path, levels=self._levels, max_pixels=self._max_pixels, notes=self.notes)
            except MediaError as error:
                self._error = error
                self.faults["unreadable pictures"] += 1
                if self.faults["unreadable pictures"] <= _TOLD:
                    self.notes.append(str(error))
        return None


class Animation(Reader):
    """Reads a picture that moves: GIF, animated PNG, WebP or AVIF, each frame at its time.

    Args:
        where: the file.
        max_pixels: as `read_image` has it.

    Raises:
        MediaError: it cannot be read.
        MissingDependency: Pillow is not installed.
    """

    color: Literal["rgb", "nv12"] = "rgb"
    live = False

    def __init__(self, where: str | Path, *, max_pixels: int | None = None) -> None:
        super().__init__()
        self.name, self.faults, self.frame_count = str(where), Counter[str](), animation_length(where)
        self._frames = read_animation(where, max_pixels=max_pixels)
        self._time, self._number = Fraction(0), 0
        first, seconds = next(self._frames)
        self._ahead: tuple[UInt8Array, Fraction] | None = (first, seconds)
        self.size, self.rate = first.shape[:2], 1 / seconds

    def _read(self) -> Frame | None:
        ahead, self._ahead = self._ahead or next(self._frames, None), None
        if ahead is None:
            return None
        pixels, seconds = ahead
        frame = Frame(pixels, self._time, self._number, time.monotonic())
        self._time, self._number = self._time + seconds, self._number + 1
        return frame

    def _release(self) -> None:
        self._ahead = None
        self._frames.close()
