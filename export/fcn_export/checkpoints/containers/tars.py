"""Tar files, plain or packed: the names, places and sizes of the files in them.

Python's own reader takes minutes over headers that were made for it, and unpacks everything to find the names.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ...errors import ExportError
from ..pickles.budget import most_bytes
from .base import head

MAX_MEMBERS = 10_000
MAX_HEADER = 1 << 16  # bytes of a long name, or of what else an extended header says
PIECE = 1 << 20
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
FILES, LONG_NAME, EXTENDED = (tarfile.REGTYPE, tarfile.AREGTYPE), tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE


class Member(NamedTuple):
    """Where a file lies in a tar file."""

    offset: int
    size: int


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A tar file, unpacked beside the others' temporary files where it is packed.

    Raises:
        ExportError: it unpacks to many times its size.
    """
    unpack = next((unpack for start, unpack in PACKED.items() if head(path).startswith(start)), None)
    if unpack is None:
        with path.open("rb") as plain:
            yield plain
        return
    with tempfile.TemporaryFile() as target, unpack(path) as source:
        _copy(source, target, most_bytes(path.stat().st_size))
        target.seek(0)
        yield target


def members(file: IO[bytes]) -> dict[str, Member]:
    """The files in a tar file by name; none if it is no tar file.

    Raises:
        ExportError: they are too many.
    """
    found: dict[str, Member] = {}
    name, count = "", 0
    for count, (info, offset) in enumerate(_headers(file), start=1):
        if count > MAX_MEMBERS:
            raise ExportError(f"an archive of more than {MAX_MEMBERS} files; unpack it and name the one to export")
        if info.type in (LONG_NAME, EXTENDED):
            name = _long_name(info, file.read(min(info.size, MAX_HEADER))) or name
            continue
        if info.type in FILES:
            found[name or info.name] = Member(offset, info.size)
        name = ""
    return found


def _headers(file: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Each header, and where what follows it begins."""
    while True:
        try:
            info = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return
        offset = file.tell()
        yield info, offset
        file.seek(offset + -(-max(info.size, 0) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)


def _long_name(info: tarfile.TarInfo, content: bytes) -> str:
    """The name of the next file that GNU's tar, or POSIX's ("27 path=..."), writes ahead of it."""
    if info.type == LONG_NAME:
        return content.rstrip(b"\0").decode("utf-8", "surrogateescape")
    _, found, rest = content.partition(b" path=")
    return rest.partition(b"\n")[0].decode("utf-8", "surrogateescape") if found else ""


def _copy(source: IO[bytes], target: IO[bytes], most: int) -> None:
    left = most
    while piece := source.read(PIECE):
        left -= len(piece)
        if left < 0:
            raise ExportError(f"unpacks to more than {most >> 20} MiB, which weights do not; is it a checkpoint?")
        target.write(piece)
