"""What is said of a data set on the command line or in files beside it: classes, colours, values in masks, a share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from fcn_export.class_names import NAMED, palette
from fcn_export.errors import ExportError
from fcnrt.contract.types import UInt8Array
from fcnrt.pictures.palette import named_palette

from .errors import DataError

Value = TypeVar("Value")
Colour = tuple[int, int, int]

MOST_CLASSES = 255  # the next index of a byte is void
CLASSES_FILE, PALETTE_FILE = "classes.txt", "palette.txt"


@dataclass(frozen=True)
class Stated:
    """What the command line says of a data set; what it leaves open is looked for beside the data.

    Args:
        classes: a file of one name a line, or a name of fcn_export.class_names.NAMED.
        palette: a file of 'R G B' lines, or a palette's name: colours to draw in, and those of RGB masks.
        masks: folder of the masks, where the data are a folder of pictures.
        values: what stands in the masks for each class, instead of 0, 1, 2, ...
        void: values or colours of masks that mean "not annotated", besides 255.
        holdout: share of the samples that is validated on instead of trained on.
    """

    classes: str | None = None
    palette: str | None = None
    masks: Path | None = None
    values: tuple[int, ...] = ()
    void: tuple[int | Colour, ...] = ()
    holdout: float | None = None


NOTHING_STATED = Stated()


def names_of(stated: Stated, root: Path, published: str | None) -> tuple[tuple[str, ...], str | None]:
    """The classes' names, and `published` where they are taken for those that the layout was published with.

    Raises:
        DataError: nobody says them, or there are too many.
    """
    source = stated.classes or _beside(root, CLASSES_FILE)
    if source is None and published is None:
        raise DataError(
            f"{root}: whose classes are these? write their names to {root / CLASSES_FILE}, one a line, in the order of "
            "the values in the masks, or name such a file by --classes"
        )
    names = NAMED[published] if source is None else _lines_of(source)
    if len(names) > MOST_CLASSES:
        raise DataError(f"{source}: {len(names)} names; at most {MOST_CLASSES} classes can be trained")
    return tuple(names), published if source is None else None


def colours_of(stated: Stated, root: Path, classes: tuple[str, ...]) -> str | UInt8Array:
    """The palette to draw in: its name, or (classes, 3) RGB.

    Raises:
        DataError: a file of colours cannot be used for these classes.
    """
    option = stated.palette or _beside(root, PALETTE_FILE)
    known = next((name for name, names in NAMED.items() if names == list(classes)), None)
    found = _converted(lambda: palette(option, known, len(classes)))
    return found if isinstance(found, str) else np.array(found, np.uint8)


def colour_table(colours: str | UInt8Array, count: int) -> UInt8Array:
    """A palette as (count, 3) RGB."""
    return named_palette(colours, count) if isinstance(colours, str) else colours


def _beside(root: Path, name: str) -> str | None:
    return str(root / name) if (root / name).is_file() else None


def _lines_of(source: str) -> list[str]:
    if source in NAMED:
        return NAMED[source]
    try:
        names = [line.strip() for line in Path(source).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--classes {source}: neither a text file nor one of {', '.join(NAMED)} ({error})") from error
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{source}: expected at least two class names, one a line, none of them twice")
    return names


def _converted(read: Callable[[], Value]) -> Value:
    try:
        return read()
    except ExportError as error:
        raise DataError(str(error).replace("the checkpoint has", "there are")) from error
