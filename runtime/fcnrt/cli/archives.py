"""What the inputs of `fcnrt batch` name, on this machine and in object stores, and what of the outputs is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..cluster.stores import everything_below, find_stored, is_stored
from ..errors import MediaError
from ..pictures.inputs import find, passed_over
from ..pictures.kinds import FILM_SUFFIXES, PICTURE_SUFFIXES
from ..video.addresses import is_stream
from .names import Source


def find_sources(inputs: Sequence[str]) -> tuple[list[Source], list[str]]:
    """The pictures and films that inputs name, and a line for each input of which something was passed over.

    Raises:
        MediaError: an input names none.
        MissingDependency: pyarrow is not installed, and an input is in an object store.
    """
    sources: list[Source] = []
    notes: list[str] = []
    for where in inputs:
        found, note = _stored(where) if is_stored(where) else _on_disk(where)
        sources.extend(found)
        notes.extend([note] if note else [])
    return sources, notes


def what_is_there(store: str | None) -> Callable[[str], bool]:
    """Tells whether an output exists; what is in a store is listed once."""
    return os.path.exists if store is None else everything_below(store).__contains__


def _on_disk(where: str) -> tuple[list[Source], str | None]:
    if is_stream(where):
        return [Source(where)], None
    found = find(where)
    return [Source(str(path), found.root) for path in found.paths], found.note


def _stored(where: str) -> tuple[list[Source], str | None]:
    """By their names: contents would have to be fetched."""
    root, objects = find_stored(where)
    taken = [each for each in objects if each.lower().endswith(PICTURE_SUFFIXES + FILM_SUFFIXES)]
    if not taken:
        raise MediaError(f"{where}: no picture or video there; known are {' '.join(PICTURE_SUFFIXES + FILM_SUFFIXES)}")
    others = [each.removeprefix(f"{root}/") for each in objects if each not in {*taken}]
    return [Source(each, Path(root)) for each in taken], passed_over(root, others)
