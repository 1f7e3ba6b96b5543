"""Small data sets on disk in the layouts that they are published in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (37, 53)


def frame(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def labels(seed: int, classes: int, void: int = 255, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Blocks of random classes with a void border above."""
    blocks = np.random.default_rng(seed).integers(0, classes, (5, 7), dtype=np.uint8)
    whole = np.kron(blocks, np.ones((8, 8), np.uint8))[: size[0], : size[1]]
    whole[:2] = void
    return whole


def save_frame(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame(seed)).save(path, quality=100)


def save_labels(path: Path, indices: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(indices)
    if palette:
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    picture.save(path)


def voc(root: Path, names: tuple[str, ...] = ("2007_000032", "2008_000008")) -> Path:
    year = root / "VOCdevkit/VOC2012"
    (year / "ImageSets/Segmentation").mkdir(parents=True)
    for split in ("train", "val"):
        (year / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
    for seed, name in enumerate(names):
        save_frame(year / f"JPEGImages/{name}.jpg", seed)
        save_labels(year / f"SegmentationClass/{name}.png", labels(seed, 21), palette=True)
    return year


def cityscapes(root: Path, kind: str = "labelTrainIds") -> Path:
    for seed, (city, number) in enumerate((("aachen", "000000_000019"), ("ulm", "000001_000019"))):
        for split in ("train", "val"):
            save_frame(root / f"leftImg8bit/{split}/{city}/{city}_{number}_leftImg8bit.png", seed)
            save_labels(root / f"gtFine/{split}/{city}/{city}_{number}_gtFine_{kind}.png", labels(seed, 19))
    return root


def pairs(root: Path, counts: dict[str, int] | None = None, classes: int = 11) -> Path:
    """CamVid's layout; void is the index after the last class."""
    for split, count in (counts or {"train": 3, "val": 2}).items():
        for seed in range(count):
            save_frame(root / split / f"{split}_{seed}.png", seed)
            save_labels(root / f"{split}annot/{split}_{seed}.png", labels(seed, classes, void=classes))
    return root


def own(root: Path, count: int = 6, classes: tuple[str, ...] = ("soil", "leaf", "Blüte")) -> Path:
    """Pictures and masks of equal names in two folders, of mixed sizes, with names beside them."""
    for seed in range(count):
        size = (SIZE[0] - 8 * (seed % 2), SIZE[1])
        path = root / f"images/day{seed % 2}/shot_{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame(seed, size)).save(path, quality=100)
        save_labels(root / f"masks/day{seed % 2}/shot_{seed}.png", labels(seed, len(classes), size=size))
    (root / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
    return root
