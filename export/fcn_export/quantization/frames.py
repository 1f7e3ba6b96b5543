"""Frames to calibrate with, decoded as the runtime decodes them: spread evenly, some held out to judge by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from fcnrt.contract.types import UInt8Array
from fcnrt.errors import MediaError
from fcnrt.pictures.inputs import is_video
from fcnrt.pictures.kinds import PICTURE_SUFFIXES
from fcnrt.pictures.reading import read_image
from fcnrt.video import open_source

from ..errors import ExportError

T = TypeVar("T")

PICTURE_FOLDERS = ("JPEGImages", "leftImg8bit/train", "images/training", "images/train", "train", "images")
HELD_OUT = 4  # every fourth frame is kept from calibration
FEW = 8  # frames, fewer than which are told
DARK = 128  # the 99th percentile of pixel values below which frames are dark
ALIKE = 2.0  # mean difference of neighbouring frames, in pixel values, below which they show one scene
BRIGHT = 230  # what the 99th percentile of brightened frames becomes


@dataclass(frozen=True)
class CalibrationFrames:
    """Frames (H, W, 3) uint8 RGB.

    Attributes:
        where: the folder or file that they are from.
        calibration: to measure the ranges of activations on.
        held_out: others, to compare labels on; the same where there is only one frame.
    """

    where: Path
    calibration: list[UInt8Array]
    held_out: list[UInt8Array]

    @property
    def notes(self) -> list[str]:
        """What a user should know of these frames before relying on them."""
        frames = [*self.calibration, *self.held_out]
        found = []
        if len(frames) < FEW:
            found.append(f"few frames ({len(frames)}): ranges of activations may be missed; 32 to 256 are usual")
        if _are_alike(frames):
            found.append("the frames are nearly alike: take them from different scenes")
        if _brightness(frames) < DARK:
            found.append("the frames are dark: take them as bright as the camera's own, by day too if it runs by day")
        return found

    def brightened(self) -> list[UInt8Array]:
        """The held-out frames stretched to full brightness where all are dark; none where they are not."""
        level = _brightness([*self.calibration, *self.held_out])
        if level >= DARK:
            return []
        gain = BRIGHT / max(level, 1.0)
        return [np.clip(frame * gain, 0, 255).astype(np.uint8) for frame in self.held_out]


def read_frames(where: Path, count: int) -> CalibrationFrames:
    """Read frames for calibration.

    Args:
        where: a folder of pictures, a video, or the root of a data set whose pictures lie in one of PICTURE_FOLDERS.
        count: how many at most, held-out ones included, spread evenly over what is there.

    Raises:
        ExportError: nothing usable is there.
    """
    try:
        frames = _of_video(where, count) if where.is_file() and is_video(where) else _of_pictures(where, count)
    except MediaError as error:
        raise ExportError(f"--calibration {error}") from error
    held_out = frames[HELD_OUT - 1 :: HELD_OUT] or frames[-1:]
    calibration = [frame for index, frame in enumerate(frames) if index % HELD_OUT != HELD_OUT - 1]
    return CalibrationFrames(where, calibration, held_out)


def _of_video(path: Path, count: int) -> list[UInt8Array]:
    """Every n-th frame, n doubled whenever twice too many are kept: lengths that files claim are not relied on."""
    kept: list[UInt8Array] = []
    step = 1
    with open_source(path) as source:
        for index, frame in enumerate(source):
            if index % step:
                continue
            kept.append(frame.pixels)
            if len(kept) == 2 * count:
                kept, step = kept[::2], 2 * step
    return _spread(kept, count)


def _of_pictures(where: Path, count: int) -> list[UInt8Array]:
    return [read_image(path) for path in _spread(_pictures(where), count)]


def _pictures(where: Path) -> list[Path]:
    if not where.exists():
        raise ExportError(f"--calibration {where}: no such folder or video")
    folders = [where, *(where / name for name in PICTURE_FOLDERS)] if where.is_dir() else []
    found = next(filter(None, map(_pictures_below, folders)), [])
    if not found:
        raise ExportError(
            f"--calibration {where}: expected a folder of pictures ({' '.join(PICTURE_SUFFIXES)}), a video, or a data "
            f"set with pictures in {', '.join(PICTURE_FOLDERS)}; found no picture"
        )
    return found


def _pictures_below(folder: Path) -> list[Path]:
    """Pictures in a folder; of one of a data set's own, also in its subfolders (Cityscapes has one for each town)."""
    own = sorted(_usable(folder.glob("*"))) if folder.is_dir() else []
    return own or (sorted(_usable(folder.glob("*/*"))) if folder.name in ("train", "training") else [])


def _usable(paths: Iterator[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")]


def _spread(items: list[T], count: int) -> list[T]:
    if len(items) <= count:
        return items
    return [items[round(index)] for index in np.linspace(0, len(items) - 1, count)]


def _brightness(frames: list[UInt8Array]) -> float:
    return float(np.percentile(np.concatenate([frame[::8, ::8].ravel() for frame in frames]), 99))


def _are_alike(frames: list[UInt8Array]) -> bool:
    pairs = [(a, b) for a, b in pairwise(frames) if a.shape == b.shape]
    differences = [np.abs(a[::8, ::8].astype(int) - b[::8, ::8]).mean() for a, b in pairs]
    return len(frames) > 1 and len(differences) == len(frames) - 1 and bool(np.median(differences) < ALIKE)
