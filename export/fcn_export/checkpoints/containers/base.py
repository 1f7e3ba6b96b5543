"""What the readers have in common."""

from __future__ import annotations

import zipfile
import zlib
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from fcnrt.errors import first_line

from ...errors import ExportError
from ..pickles.budget import most_bytes
from ..pickles.storages import LOCAL_HEADER

NOT_MINE = object()  # what a reader returns for a file of another kind
HEAD_BYTES = 4096
ENCRYPTED = 1  # a bit of a zip record's flags
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def record_names(path: Path) -> tuple[str, ...]:
    """The names in a zip file without their common folder, as torch writes them; none if it is no zip file.

    Raises:
        ExportError: it is one, but damaged.
    """
    if not head(path).startswith(b"PK") or not zipfile.is_zipfile(path):  # a tar file may end in a zip file
        return ()
    stat = path.stat()
    return _checked_names(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(4)
def _checked_names(path: Path, modified: int, size: int) -> tuple[str, ...]:
    """The names in a zip file whose contents pass their checksums: torch reads records without comparing them."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_records(archive.infolist(), size)
            damaged = archive.testzip()
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, zlib.error, RuntimeError) as error:
        raise ExportError(f"truncated or not a checkpoint ({first_line(error)})") from error
    if damaged:
        raise ExportError(f"damaged, {damaged} fails its checksum; copy or download it again")
    return tuple(names)


def _check_records(records: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse an archive that would fill the memory, or that readers take for different things."""
    unpacked = sum(record.file_size for record in records)
    if unpacked > most_bytes(size):
        raise ExportError(
            f"unpacks to {unpacked >> 20} MiB from {size / 2**20:.1f} MiB, which weights do not; is it a checkpoint?"
        )
    for entry in records:
        if entry.flag_bits & ENCRYPTED:
            raise ExportError("an encrypted archive; unpack it with its password and name the checkpoint in it")
        if entry.compress_type not in METHODS:
            raise ExportError(
                f"{entry.filename} in it is packed by an unusual method; unpack it and name the checkpoint"
            )
    if len({record.filename for record in records}) < len(records) or _overlap(records):
        raise ExportError("damaged, records in it share a name or a place; copy or download it again")


def _overlap(records: list[zipfile.ZipInfo]) -> bool:
    """Whether records of a zip file lie in each other."""
    places = sorted((record.header_offset, record.compress_size) for record in records)
    return any(first + LOCAL_HEADER.size + length > after for (first, length), (after, _) in pairwise(places))


def record(path: Path, ending: str) -> str | None:
    """The full name of the record in a zip file that ends so after its folder; None if there is none."""
    names = [name for name in record_names(path) if name == ending or name.partition("/")[2] == ending]
    return names[0] if names else None
