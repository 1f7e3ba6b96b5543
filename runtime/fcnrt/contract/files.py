"""Whole files only: written under a temporary name beside their own, flushed to the disk and then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

PART = ".fcnrt-"  # begins the names of unfinished files


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` when the block ends without error.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    discard_left_behind(path.parent, path.suffix)
    part = part_name(path)
    try:
        yield part
        put_in_place(part, path)
    finally:
        discard(part)


def write_json(path: Path, value: Any) -> None:
    """Write a value as people read JSON, whole or not at all; raises OSError."""
    with atomic_path(path) as part:
        part.write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """A value as JSON of a line each, with a line end at its end."""
    return json.dumps(value, indent=1) + "\n"


def file_sha256(path: Path) -> str:
    """The SHA-256 of what a file holds, in hexadecimal, read piece by piece; raises OSError."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            total.update(piece)
    return total.hexdigest()


def part_name(path: Path) -> Path:
    """Name a hidden file in the same folder, and so on the same disk, with the same extension."""
    return path.with_name(f"{PART}{_here()}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


@lru_cache(64)
def discard_left_behind(folder: Path, suffix: str) -> None:
    """Remove unfinished files with a suffix of processes that were killed, once for each folder.

    Not for videos: what is left of one can be played.
    """
    for part in folder.glob(f"{PART}{_here()}-*"):
        number = part.name.removeprefix(f"{PART}{_here()}-").partition("-")[0]
        if part.suffix == suffix and number.isdecimal() and not _is_running(int(number)):
            discard(part)


@cache
def _here() -> str:
    """This machine, or container, in a few letters: the numbers of processes mean nothing elsewhere."""
    names = [platform.node()]
    for path in ("/etc/machine-id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(path) if os.path.islink(path) else Path(path).read_text(encoding="ascii"))
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    if os.name != "posix":  # there a signal would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def put_in_place(part: Path, path: Path) -> None:
    """Flush a finished file to the disk and give it its name; raises OSError."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def discard(part: Path) -> None:
    """Remove what is left of an unfinished file, if anything is."""
    with contextlib.suppress(OSError):
        part.unlink()
