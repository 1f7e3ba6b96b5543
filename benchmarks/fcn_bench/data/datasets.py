"""Data sets whose frames have a class at every pixel: files in the layouts of layouts.py, or generated streets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from fcnrt.contract.types import UInt8Array
from fcnrt.errors import MediaError
from fcnrt.pictures.reading import read_image

from . import scenes
from .errors import DataError
from .layouts import KINDS, Found, Pair, find_samples, pictures_and_masks
from .masks import MaskReader
from .stated import NOTHING_STATED, Stated, colour_table, colours_of, names_of

__all__ = ["KINDS", "SCENES", "DataError", "DataSet", "InMemory", "Sample", "open_data"]

SCENES = "scenes"  # the name that stands for the generated data set
SCENE_COUNTS = {"train": 600, "val": 60}
SCENE_STREAMS = {"train": 0, "val": 1}  # streams of randomness: nothing is measured on what was trained on


class Sample(NamedTuple):
    """One frame: (H, W, 3) uint8 RGB, its classes (H, W) uint8 with 255 where not annotated, and a name for it."""

    frame_hwc: UInt8Array
    labels_hw: UInt8Array
    name: str


class DataSet(Protocol):
    """An indexed sequence of samples, with what a model trained on it has to know.

    Attributes:
        name: of the data set.
        classes: their names.
        palette: its name in fcnrt, or (classes, 3) RGB.
        assumed: the published classes that these are taken for because nobody said others, None where somebody did.
        root: where it lies; None for one that is drawn.
    """

    name: str
    classes: tuple[str, ...]
    palette: str | UInt8Array
    assumed: str | None
    root: Path | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class FileDataSet:
    """Frames and label maps in files.

    Args:
        name, classes, palette, assumed, root: as of every data set.
        pairs: the files.
        read_mask: label maps to class indices, 255 where not annotated.
    """

    name: str
    classes: tuple[str, ...]
    palette: str | UInt8Array
    pairs: tuple[Pair, ...]
    read_mask: MaskReader
    assumed: str | None
    root: Path

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        try:
            frame_hwc = read_image(pair.frame)
        except MediaError as error:
            raise DataError(str(error)) from error
        labels_hw = self.read_mask(pair.labels)
        if frame_hwc.shape[:2] != labels_hw.shape:
            raise DataError(
                f"{pair.labels}: expected {frame_hwc.shape[:2]} pixels as {pair.frame}, got {labels_hw.shape}"
            )
        return Sample(frame_hwc, labels_hw, pair.name)


@dataclass(frozen=True)
class SceneDataSet:
    """The generated streets of the demo, drawn anew at each access; the same index is always the same street.

    Args:
        count: number of streets.
        size: height and width in pixels.
        seed: of everything that is drawn.
        stream: streets of different streams have nothing in common.
    """

    count: int
    size: tuple[int, int] = (240, 320)
    seed: int = 0
    stream: int = 0
    name: str = SCENES
    classes: tuple[str, ...] = scenes.CLASSES
    assumed: str | None = None
    root: Path | None = None

    @property
    def palette(self) -> UInt8Array:
        return scenes.PALETTE

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        pair = scenes.scene(np.random.default_rng((self.seed, self.stream, index)), *self.size)
        return Sample(*pair, f"street {index}")


class InMemory:
    """A data set whose samples are read once and kept, decoded.

    Args:
        data: the data set.
    """

    def __init__(self, data: DataSet):
        self._data, self._kept = data, dict[int, Sample]()
        self.name, self.classes, self.palette = data.name, data.classes, data.palette
        self.assumed, self.root = data.assumed, data.root

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            self._kept[index] = self._data[index]
        return self._kept[index]


def open_data(where: str | Path, split: str, kind: str | None = None, stated: Stated = NOTHING_STATED) -> DataSet:
    """Open one split of a data set.

    Args:
        where: the root of a tree, a folder of pictures with `stated.masks`, or "scenes" for generated streets.
        split: "train", "val", or another that the tree holds: a list of names, a folder.
        kind: of layouts.KINDS instead of recognising the tree.
        stated: what was said of it besides.

    Raises:
        DataError: there is no such tree or split, a part of it is missing, or nobody says what its classes are; the
            text says what, where it can be had and where it belongs.
    """
    if str(where) == SCENES and kind is None:
        return _open_scenes(split, stated)
    found = _found(Path(where), split, kind, stated)
    classes, assumed = names_of(stated, found.root, found.published)
    palette = colours_of(stated, found.root, classes)
    reader = _reader(found, stated, classes, palette)
    return FileDataSet(found.name, classes, palette, found.pairs, reader, assumed, found.root)


def _open_scenes(split: str, stated: Stated) -> SceneDataSet:
    if stated != NOTHING_STATED:
        raise DataError(f"{SCENES}: has classes, colours and splits of its own; drop the options that say others")
    if split not in SCENE_COUNTS:
        raise DataError(f"{SCENES}: expected split {' or '.join(SCENE_COUNTS)}, got {split}")
    return SceneDataSet(SCENE_COUNTS[split], stream=SCENE_STREAMS[split])


def _found(root: Path, split: str, kind: str | None, stated: Stated) -> Found:
    part = split if stated.holdout is None else None
    if stated.masks is None:
        found = find_samples(root, part, kind)
    else:
        found = pictures_and_masks(root, stated.masks, root, part)
    return found if stated.holdout is None else _part(found, split, stated.holdout)


def _part(found: Found, split: str, share: float) -> Found:
    """What is held out as "val", or the rest as "train"; by a digest of the name, whatever else there is."""
    if split not in ("train", "val"):
        raise DataError(f"--holdout: divides the data into train and val, got {split}; drop one of them")
    shuffled = sorted(found.pairs, key=lambda pair: hashlib.sha256(pair.name.encode()).digest())
    count = max(1, round(share * len(shuffled)))
    if count == len(shuffled):
        raise DataError(f"--holdout {share:g}: leaves none of {len(shuffled)} samples to train on")
    chosen = {pair.name for pair in shuffled[:count]}
    kept = tuple(pair for pair in found.pairs if (pair.name in chosen) == (split == "val"))
    return found._replace(pairs=kept)


def _reader(found: Found, stated: Stated, classes: tuple[str, ...], palette: str | UInt8Array) -> MaskReader:
    count = len(classes)
    if stated.values and (len(stated.values) != count or len(set(stated.values)) != count):
        raise DataError(f"--label-values: expected one for each of the {count} classes, got {len(set(stated.values))}")
    void = {value for value in stated.void if isinstance(value, int)} | ({count} if found.void_after else set())
    colours = None if isinstance(palette, str) and palette == "generated" else colour_table(palette, count)
    void_colours = tuple(value for value in stated.void if not isinstance(value, int))
    return MaskReader(count, stated.values, frozenset(void), colours, void_colours)
