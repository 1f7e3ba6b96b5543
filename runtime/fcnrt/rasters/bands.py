"""Which of a raster's bands are red, green and blue: as is said by the caller, or by the file; never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import MediaError

COLOURS = ("red", "green", "blue")


def chosen_bands(dataset: Any, path: Path, asked: Sequence[int] | None) -> tuple[list[int], str | None]:
    """The numbers of the bands, three or a grey one, and what there is to say of the choice.

    Args:
        dataset: rasterio's.
        path: of the file, for messages.
        asked: numbers from 1.

    Raises:
        MediaError: there are no such bands, or it is not known which to take.
    """
    if asked is not None:
        return _checked(asked, dataset.count, path), None
    found = _as_the_file_says([interpretation.name for interpretation in dataset.colorinterp])
    if found:
        return found, _said_of(found, dataset.count, path)
    if dataset.count == len(COLOURS):
        return [1, 2, 3], f"{path}: bands 1, 2, 3 are taken as red, green, blue; --bands says otherwise"
    raise MediaError(
        f"{path}: has {dataset.count} bands ({_described(dataset)}); say by --bands which are red, green and blue, "
        "such as --bands 3,2,1 (bands= in Python)"
    )


def _checked(asked: Sequence[int], count: int, path: Path) -> list[int]:
    if len(asked) not in (1, len(COLOURS)) or not all(1 <= band <= count for band in asked):
        named = ",".join(map(str, asked))
        raise MediaError(f"{path}: expected one band or three, from 1 to {count}, got --bands {named}")
    return list(asked)


def _as_the_file_says(names: Sequence[str]) -> list[int] | None:
    if all(names.count(colour) == 1 for colour in COLOURS):
        return [names.index(colour) + 1 for colour in COLOURS]
    pictures = [index for index, name in enumerate(names, start=1) if name != "alpha"]
    return pictures if len(pictures) == 1 else None


def _said_of(bands: Sequence[int], count: int, path: Path) -> str | None:
    if len(bands) == 1 or (count == len(COLOURS) and list(bands) == [1, 2, 3]):
        return None
    named = ", ".join(f"{band} is {colour}" for band, colour in zip(bands, COLOURS, strict=True))
    return f"{path}: has {count} bands, of which by the file {named}"


def _described(dataset: Any) -> str:
    names = [
        description or interpretation.name
        for description, interpretation in zip(dataset.descriptions, dataset.colorinterp, strict=True)
    ]
    shown = [f"{number} {name}" for number, name in enumerate(names[:8], start=1)]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
