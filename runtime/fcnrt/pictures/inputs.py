"""What the command line's inputs name: files, folders and glob patterns of pictures and videos."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from ..errors import MediaError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv")

_KNOWN_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES


def find_inputs(patterns: Sequence[str | Path]) -> list[Path]:
    """List the pictures and videos that files, folders and glob patterns name.

    Args:
        patterns: a file by its name, a folder (its pictures and videos, without its subfolders), or a
            glob pattern (`**` crosses folders). Hidden files are left out unless named.

    Returns:
        the files, sorted within each pattern, patterns in the order given, each file once.

    Raises:
        MediaError: a pattern matches nothing, or a file's extension is unknown.
    """
    if not patterns:
        raise MediaError("input: expected at least one file, folder or glob pattern, got none")
    found = [path for pattern in patterns for path in _matches(pattern)]
    return list(dict.fromkeys(found))


def is_video(path: str | Path) -> bool:
    """Tell by its extension whether `path` is a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise MediaError unless the name ends in one of `suffixes`, in letters of either case."""
    if path.suffix.lower() not in suffixes:
        raise MediaError(f"{path}: expected a name that ends in {' '.join(suffixes)}")


def _matches(pattern: str | Path) -> list[Path]:
    path = Path(pattern)
    # A file is looked for before a pattern: names with brackets are common.
    if path.is_file():
        check_suffix(path, _KNOWN_SUFFIXES)
        return [path]
    candidates = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(pattern), recursive=True))
    found = sorted(each for each in candidates if _is_input(each))
    if not found:
        raise MediaError(f"{pattern}: no picture or video there; known are {' '.join(_KNOWN_SUFFIXES)}")
    return found


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in _KNOWN_SUFFIXES and not path.name.startswith(".") and path.is_file()
