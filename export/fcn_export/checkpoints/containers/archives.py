"""Archives: a zip or tar file that holds one checkpoint is read as that; another is refused with the names in it."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ...errors import ExportError
from . import tars
from .base import NOT_MINE, record_names
from .folders import SUFFIXES, TRAINERS

OLDEST = {"sys_info", "pickle", "storages", "tensors"}  # records of torch.save before 0.1.10, a tar file


def read(path: Path) -> Any:
    """What the one checkpoint in an archive holds."""
    if names := record_names(path):
        with zipfile.ZipFile(path) as archive:
            sizes = {name: archive.getinfo(name).file_size for name in names}
            return _read_member(sizes, lambda name: archive.open(name))
    with tars.opened(path) as file:
        found = tars.members(file)
        if found.keys() >= OLDEST:
            raise ExportError(
                "a file of torch older than 0.1.10, a tar file of pickles; load it with torch and save its state_dict()"
            )
        if not found:
            return NOT_MINE
        return _read_member({name: size for name, (_, size) in found.items()}, lambda name: _part(file, *found[name]))


def _part(file: IO[bytes], offset: int, size: int) -> IO[bytes]:
    """The bytes of a tar file's member, which are no more than the file has."""
    file.seek(offset)
    return io.BytesIO(file.read(min(size, os.fstat(file.fileno()).st_size)))


def _read_member(sizes: dict[str, int], opened: Callable[[str], IO[bytes]]) -> Any:
    name = _checkpoint_among(sizes)
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / PurePosixPath(name).name
        with opened(name) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target)
        return _content(unpacked, name)


def _content(path: Path, name: str) -> Any:
    from . import READERS

    for reader in READERS:
        if reader is read:
            continue  # archives within archives
        found = reader(path)
        if found is not NOT_MINE:
            return found
    raise ExportError(f"an archive whose {name} is no checkpoint")


def _checkpoint_among(sizes: dict[str, int]) -> str:
    files = [name for name in sizes if not name.endswith("/") and not PurePosixPath(name).name.startswith("._")]
    named = [name for name in files if PurePosixPath(name).suffix in SUFFIXES]
    weights = [name for name in named if not any(word in name for word in TRAINERS)]
    if len(files) == 1 or len(weights) == 1:
        return (weights or files)[0]
    inside = ", ".join((weights or files)[:3])
    what = f"{len(weights)} checkpoints" if weights else "no checkpoint"
    raise ExportError(f"an archive with {what} in it ({inside}); unpack it and name the one to export")
