"""A folder or pattern of pictures as a video."""

from __future__ import annotations

import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Literal

from ...contract.types import UInt8Array
from ...errors import MediaError
from ...pictures.images import read_image
from ...pictures.inputs import find_inputs, is_video
from ..frames import Frame
from .reader import Reader


class Stills(Reader):
    """Reads pictures one after the other, in the order of their names; their sizes may differ.

    Args:
        where: a folder, a glob pattern or a picture.
        rate: pictures per second.

    Raises:
        MediaError: there is no picture, a video among them, or the first cannot be read.
        MissingDependency: Pillow is not installed.
    """

    color: Literal["rgb", "nv12"] = "rgb"
    live = False

    def __init__(self, where: str | Path, *, rate: Fraction | int = 25) -> None:
        super().__init__()
        self.name, self.rate, self.faults = str(where), Fraction(rate), Counter[str]()
        self._paths = find_inputs([where])
        for video in filter(is_video, self._paths):
            raise MediaError(f"{where}: expected pictures alone, found {video} among them; name it, or the pictures")
        self._number, self.frame_count = 0, len(self._paths)
        self._first: UInt8Array | None = read_image(self._paths[0])
        self.size = self._first.shape[:2]

    def _read(self) -> Frame | None:
        number = self._number
        if number == self.frame_count:
            return None
        self._number += 1
        pixels, self._first = self._first, None
        pixels = read_image(self._paths[number]) if pixels is None else pixels
        return Frame(pixels, number / self.rate, number, time.monotonic())

    def _release(self) -> None:
        self._first = None
