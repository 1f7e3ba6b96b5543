"""Where a worker reads an input and writes its outputs: files beside their names, or copies of what is in a store."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..contract.files import part_name
from ..errors import MediaError
from ..video.addresses import is_stream
from ..video.sinks.av_file import CutShort
from .stores import fetch, is_stored, put, put_folder

SCRATCH = "fcnrt-"  # begins the names of folders for copies


@contextlib.contextmanager
def readable(source: str) -> Iterator[str]:
    """A name under which an input can be opened: its own, or that of a copy that is gone afterwards.

    Raises:
        OSError: it cannot be copied.
    """
    if not is_stored(source):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as folder:
        copy = Path(folder, Path(source).name)
        fetch(source, copy)
        yield str(copy)


def under_own_name(text: str, source: str) -> str:
    """A text in which a copy of an input is called what the input is."""
    folder = re.escape(os.path.join(tempfile.gettempdir(), SCRATCH))
    return re.sub(rf"{folder}[^/]+/{re.escape(Path(source).name)}", lambda _: source, text)


class Place:
    """A file or folder to be written: whole under its name, or not at all; a context manager.

    Args:
        where: a path, or an address in a store.

    Attributes:
        where: the path or address.
        part: what to write.
    """

    def __init__(self, where: str):
        self.where = where
        if is_stored(where):
            self._scratch = Path(tempfile.mkdtemp(prefix=SCRATCH))
            self.part = self._scratch / Path(where).name
        else:
            self._scratch = self.part = part_name(Path(where))
            self.part.parent.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        """Put what was written in its place; raises OSError."""
        if not is_stored(self.where):
            _put_in_place(self.part, Path(self.where))
        elif self.part.is_dir():
            put_folder(self.part, self.where)
        else:
            put(self.part, self.where)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *error: object) -> None:
        discard(self._scratch)


@contextlib.contextmanager
def told_of(places: Sequence[Place]) -> Iterator[None]:
    """While places are written: errors name them, and say nothing of what was written, as nothing is kept of it."""
    try:
        yield
    except MediaError as error:
        text = error.short if isinstance(error, CutShort) else str(error)
        for place in places:
            text = text.replace(str(place.part), place.where)
        if text == str(error):
            raise
        raise MediaError(text) from error


def _put_in_place(part: Path, target: Path) -> None:
    if target.is_dir():  # of labels, from another model
        shutil.rmtree(target)
    os.replace(part, target)


def discard(part: Path) -> None:
    """Remove an unfinished file or folder, if there is one."""
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


def absolute(where: str) -> str:
    """A name that means the same in any folder."""
    return where if is_stored(where) or is_stream(where) else os.path.abspath(where)
