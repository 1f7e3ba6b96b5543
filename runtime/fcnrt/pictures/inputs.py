"""What the command line's inputs name: files, folders, patterns and numbered sequences of pictures and films."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MediaError
from .kinds import FILM_SUFFIXES, PICTURE_SUFFIXES, is_media, kind_of

_NAMED_AT_MOST = 5  # of the files that were passed over
_COUNTER = re.compile(r"%(?:0(\d+))?d")


@dataclass(frozen=True)
class Found:
    """What an input names.

    Attributes:
        root: the folder that it searches.
        paths: the pictures and films, numbers in their names in numeric order.
        passed_over: what else it matches: folders, hidden files, files of other kinds.
    """

    root: Path
    paths: list[Path]
    passed_over: list[Path]

    @property
    def note(self) -> str | None:
        """One line about what was passed over, or None."""
        if not self.passed_over:
            return None
        names = [f"{path.relative_to(self.root)}{'/' * path.is_dir()}" for path in self.passed_over]
        folders = any(path.is_dir() for path in self.passed_over)
        inside = f"; {self.root}/**/* takes what is in folders" if folders else ""
        return f"{passed_over(self.root, names)}{inside}"


def passed_over(root: str | Path, names: Sequence[str]) -> str | None:
    """One line about what of a folder was passed over, None where that is nothing."""
    if not names:
        return None
    more = len(names) - _NAMED_AT_MOST
    listed = ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    return f"{root}: passed over {len(names)}, no pictures or videos: {listed}"


def find(pattern: str | Path) -> Found:
    """Find the pictures and films that a file, folder, pattern or numbered sequence names.

    Args:
        pattern: a file by its name; a folder (without its subfolders); a glob pattern (`**` crosses folders); or a
            sequence such as frame_%04d.png. Hidden files are left out unless named.

    Raises:
        MediaError: there is none.
    """
    path, counter = Path(pattern), _COUNTER.search(Path(pattern).name)
    # A file is looked for before a pattern: names with brackets are common.
    if path.is_file():
        return Found(path.parent, [path], [])
    if path.is_dir():
        return _sorted_out(pattern, path, path.iterdir())
    if counter and not glob.has_magic(str(pattern)):
        return _sorted_out(pattern, path.parent, _numbered(path, counter))
    matches = [Path(match) for match in glob.glob(str(pattern), recursive=True)]
    if not matches and not glob.has_magic(str(pattern)):
        hint = f"; a camera is camera:{pattern}" if str(pattern).isdecimal() else ""
        raise MediaError(f"{pattern}: no such file or folder{hint}")
    crossed = "**" in str(pattern)
    return _sorted_out(pattern, _root(path), (each for each in matches if not (crossed and each.is_dir())))


def find_inputs(patterns: Sequence[str | Path]) -> list[Path]:
    """List the pictures and films that files, folders, patterns and sequences name, as `find` does.

    Returns:
        the files, in natural order within each pattern, patterns in the order given, each file once.

    Raises:
        MediaError: a pattern matches nothing.
    """
    if not patterns:
        raise MediaError("input: expected at least one file, folder or glob pattern, got none")
    return list(dict.fromkeys(path for pattern in patterns for path in find(pattern).paths))


def is_sequence(where: str | Path) -> bool:
    """Tell whether a name is that of a numbered sequence, such as frame_%04d.png."""
    return bool(_COUNTER.search(Path(where).name))


def is_video(path: str | Path) -> bool:
    """Tell whether a file is a film, or a picture that moves."""
    return kind_of(path) == "film"


def check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise MediaError unless the name ends in one of `suffixes`, in letters of either case."""
    if path.suffix.lower() not in suffixes:
        raise MediaError(f"{path}: expected a name that ends in {' '.join(suffixes)}")


def _sorted_out(pattern: str | Path, root: Path, candidates: Iterable[Path]) -> Found:
    """Tell inputs from what is passed over; raises MediaError where there is no input."""
    inputs: list[Path] = []
    others: list[Path] = []
    for path in sorted(candidates, key=_natural):
        (inputs if _is_input(path) else others).append(path)
    found = Found(root, inputs, others)
    if not inputs:
        if Path(pattern).is_dir() and any(path.is_dir() for path in others):
            raise MediaError(f"{pattern}: no picture or video there; {Path(pattern, '**/*')} takes what is in folders")
        known = " ".join(PICTURE_SUFFIXES + FILM_SUFFIXES)
        raise MediaError(f"{pattern}: no picture or video there; known are {known}, and others by their first bytes")
    return found


def _is_input(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file() and is_media(path)


def _numbered(path: Path, counter: re.Match[str]) -> list[Path]:
    """The files of a sequence, whatever its first number is."""
    before, after = (re.escape(part) for part in (path.name[: counter.start()], path.name[counter.end() :]))
    digits = rf"\d{{{int(counter[1])},}}" if counter[1] else r"\d+"
    name = re.compile(before + digits + after)
    return [each for each in path.parent.iterdir() if name.fullmatch(each.name)] if path.parent.is_dir() else []


def _root(pattern: Path) -> Path:
    """The folder above the first part of a pattern that has wildcards in it."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _natural(path: Path) -> list[tuple[list[str | int], str]]:
    """A key by which frame2 comes before frame10."""
    return [(_pieces(part), part) for part in path.parts]


def _pieces(part: str) -> list[str | int]:
    """Text and numbers in turn."""
    return [int(piece) if index % 2 else piece for index, piece in enumerate(re.split(r"(\d+)", part))]
