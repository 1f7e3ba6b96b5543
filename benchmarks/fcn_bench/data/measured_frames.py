"""The frames that something is measured on: a data set's or a folder's, spread evenly where not all are wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnrt.contract.types import UInt8Array
from fcnrt.errors import MediaError
from fcnrt.pictures.inputs import find_inputs, is_video
from fcnrt.pictures.reading import read_image

from .datasets import DataError, DataSet, open_data
from .stated import NOTHING_STATED, Stated


class Frame(NamedTuple):
    """RGB (H, W, 3) uint8, its classes (H, W) uint8 with 255 for void or None where nobody annotated them, a name."""

    frame_hwc: UInt8Array
    truth_hw: UInt8Array | None
    name: str


class MeasuredFrames:
    """Some of the frames at a place, in order.

    Args:
        where: a data set's tree (see datasets.py), "scenes", or a folder of pictures.
        split: of the data set.
        kind: of the tree, instead of recognising it.
        limit: at most so many, evenly spread, since neighbours look alike (default: all).
        stated: what was said of the data set besides.

    Attributes:
        name: of the data set and its split, or of the folder.
        classes: names, None for a folder of pictures.

    Raises:
        DataError: there is neither a data set nor a picture.
    """

    def __init__(
        self,
        where: str,
        split: str = "val",
        kind: str | None = None,
        limit: int | None = None,
        stated: Stated = NOTHING_STATED,
    ):
        self._source = _open(where, split, kind, stated)
        annotated = not isinstance(self._source, list)
        self.classes = self._source.classes if annotated else None
        self.name = f"{self._source.name} {split}" if annotated else Path(where).resolve().name
        count = len(self._source)
        if not count:
            raise DataError(f"{where}: no frames in {split}; nothing can be measured on it")
        chosen = np.linspace(0, count - 1, min(limit or count, count))
        self._indices = [int(index) for index in chosen.round()]
        self._digest = hashlib.sha256()

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[Frame]:
        """Read them one by one; raises DataError for one that cannot be read."""
        self._digest = hashlib.sha256()
        for index in self._indices:
            frame = self._read(index)
            for array in (frame.frame_hwc, frame.truth_hw):
                if array is not None:
                    self._digest.update(repr(array.shape).encode() + array.tobytes())
            yield frame

    @property
    def sha256(self) -> str:
        """Of the pixels of all frames read so far and their classes, shapes included."""
        return self._digest.hexdigest()

    def _read(self, index: int) -> Frame:
        if not isinstance(self._source, list):
            return Frame(*self._source[index])
        try:
            return Frame(read_image(self._source[index]), None, self._source[index].stem)
        except MediaError as error:
            raise DataError(str(error)) from error


def _open(where: str, split: str, kind: str | None, stated: Stated) -> DataSet | list[Path]:
    try:
        return open_data(where, split, kind, stated)
    except DataError:
        pictures = _pictures(where)
        if kind or stated != NOTHING_STATED or not pictures:
            raise
        return pictures


def _pictures(where: str) -> list[Path]:
    try:
        found = find_inputs([where]) if Path(where).is_dir() else []
    except MediaError:
        return []
    return [path for path in found if not is_video(path)]
