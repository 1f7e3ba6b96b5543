"""A look at all samples before training: that each can be read, what is annotated how often, what is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ..metrics import VOID
from .datasets import DataSet
from .errors import DataError


class Census(NamedTuple):
    """What was counted.

    Attributes:
        pixels: (classes,) of each class.
        frames: (classes,) that show it.
        void: share of all pixels that is not annotated.
        sizes: (height, width) of the smallest and of the largest frame, by area.
        samples: how many there are.
    """

    pixels: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    void: float
    sizes: tuple[tuple[int, int], tuple[int, int]]
    samples: int


def census(data: DataSet, split: str, workers: int = 1) -> Census:
    """Read every sample once.

    Args:
        data: the samples.
        split: what they are, for the progress bar.
        workers: threads that read.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    if not len(data):
        raise DataError(f"{data.name}: no samples in {split}")

    def counted(index: int) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
        labels_hw = data[index].labels_hw
        return np.bincount(labels_hw.ravel(), minlength=VOID + 1), (labels_hw.shape[0], labels_hw.shape[1])

    with ThreadPoolExecutor(workers) as pool:
        try:
            each = list(tqdm(pool.map(counted, range(len(data))), f"reading {split}", len(data), False, disable=None))
        finally:
            pool.shutdown(cancel_futures=True)
    counts = np.array([pixels for pixels, _ in each])  # (samples, 256)
    sizes = sorted((size for _, size in each), key=lambda size: size[0] * size[1])
    classes = counts[:, : len(data.classes)]
    void = float(counts[:, VOID].sum() / counts.sum())
    return Census(classes.sum(axis=0), (classes > 0).sum(axis=0), void, (sizes[0], sizes[-1]), len(each))


def look_through(train: DataSet, val: DataSet, splits: tuple[str, str], workers: int) -> tuple[Census, Census]:
    """Count both parts and refuse what cannot be trained as meant.

    Args:
        train, val: the two parts.
        splits: what they are called.
        workers: threads that read.

    Raises:
        DataError: as of `census` and `check_classes`, or nothing is annotated to validate on.
    """
    learned, measured = (census(data, split, workers) for data, split in zip((train, val), splits, strict=True))
    check_classes(train, learned)
    if not measured.pixels.any():
        raise DataError(f"{val.root or val.name}: no pixel of {splits[1]} is annotated")
    return learned, measured


def lines(classes: Sequence[str], found: Census) -> Iterator[str]:
    """The census as a table, a line for each class."""
    annotated = max(1, found.pixels.sum())
    width = max(map(len, classes))
    for index, name in enumerate(classes):
        share = f"{found.pixels[index] / annotated:8.2%}" if found.pixels[index] else "   none  "
        yield f"{index:4} {name:{width}} {share} of the annotated pixels, in {found.frames[index]} frames"
    yield f"     {'void':{width}} {found.void:8.2%} of all pixels"


def check_classes(data: DataSet, found: Census) -> None:
    """Refuse what cannot be trained as meant.

    Raises:
        DataError: no more than one class is annotated; or a class is nowhere, and nobody has said that these are the
            classes.
    """
    absent = [name for name, count in zip(data.classes, found.pixels, strict=True) if not count]
    if len(data.classes) - len(absent) < 2:
        raise DataError(
            f"{data.name}: the masks have {_only(data, absent)}; where values in them are not 0, 1, 2, ... say "
            "--label-values, such as --label-values 0,255 for black and white"
        )
    if absent and data.assumed and data.root:
        raise DataError(
            f"{data.root}: no mask has {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}, so whose classes "
            f"are these? write the names of your own to {data.root / 'classes.txt'}, one a line, in the order of the "
            f"values in the masks; if they are those of {data.assumed} add --classes {data.assumed}"
        )


def _only(data: DataSet, absent: list[str]) -> str:
    present = [name for name in data.classes if name not in absent]
    return f"no class but {present[0]}" if present else "no annotated pixel"
