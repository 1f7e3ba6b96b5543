"""Whole files only: written under a temporary name beside their own, flushed to the disk and then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from ..errors import MediaError, MissingDependency


def check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise MediaError unless the name ends in one of `suffixes`, in letters of either case."""
    if path.suffix.lower() not in suffixes:
        raise MediaError(f"{path}: expected a name that ends in {' '.join(suffixes)}")


def part_name(path: Path) -> Path:
    """Name a hidden file in the same folder, and so on the same disk, with the same extension."""
    return path.with_name(f".fcnrt-{secrets.token_hex(4)}{path.suffix}")


def put_in_place(part: Path, path: Path) -> None:
    """Flush a finished file to the disk and give it its name; raises OSError."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def discard(part: Path) -> None:
    """Remove what is left of an unfinished file, if anything is."""
    with contextlib.suppress(OSError):
        part.unlink()


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def needs(package: str) -> Iterator[None]:
    """Around an import: say what to install where it fails."""
    try:
        yield
    except ImportError as error:
        message = f"{package} is needed for this: pip install 'fcnrt[video]' ({first_line(error)})"
        raise MissingDependency(message) from error
