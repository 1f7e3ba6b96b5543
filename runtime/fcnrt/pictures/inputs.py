"""What the command line's inputs name: files, folders, patterns and numbered sequences of pictures and films."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
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
        return _note(self.root, self.passed_over, len(self.passed_over))


def passed_over(root: str | Path, names: Sequence[str], count: int | None = None) -> str | None:
    """One line about what of a folder was passed over, by the first names of so many; None where that is nothing."""
    count = len(names) if count is None else count
    if not count:
        return None
    listed = ", ".join(names[:_NAMED_AT_MOST]) + (
        f" and {count - _NAMED_AT_MOST} more" if count > _NAMED_AT_MOST else ""
    )
    return f"{root}: passed over {count}, no pictures or videos: {listed}"


def _note(root: Path, others: Sequence[Path], count: int) -> str | None:
    """What `passed_over` says of paths, with a hint where there are folders among them."""
    names = [f"{path.relative_to(root)}{'/' * path.is_dir()}" for path in others[:_NAMED_AT_MOST]]
    folders = any(path.is_dir() for path in others)
    return f"{passed_over(root, names, count)}{f'; {root}/**/* takes what is in folders' * folders}" if count else None


def find(pattern: str | Path) -> Found:
    """Find the pictures and films that a file, folder, pattern or numbered sequence names.

    Args:
        pattern: a file by its name; a folder (without its subfolders); a glob pattern (`**` crosses folders); or a
            sequence such as frame_%04d.png. Hidden files are left out unless named.

    Raises:
        MediaError: there is none.
    """
    if Path(pattern).is_file():  # before a pattern: names with brackets are common
        return Found(Path(pattern).parent, [Path(pattern)], [])
    root, candidates = _candidates(pattern)
    inputs: list[Path] = []
    others: list[Path] = []
    for path in sorted(candidates, key=_natural):
        (inputs if _is_input(path) else others).append(path)
    if not inputs:
        raise _nothing_there(pattern, any(path.is_dir() for path in others))
    return Found(root, inputs, others)


class Search:
    """Finds what `find` finds, one after the other and in no order: for folders of millions of files.

    Args:
        pattern: as `find` has it.

    Attributes:
        root: the folder that it searches.
        note: one line about what was passed over, once all has been found, or None.

    Raises:
        MediaError: nothing has this name; as it is iterated, where there is no picture and no film.
    """

    def __init__(self, pattern: str | Path) -> None:
        self._pattern, self.note, self._is_named = pattern, None, Path(pattern).is_file()
        self.root, self._candidates = (
            (Path(pattern).parent, [Path(pattern)]) if self._is_named else _candidates(pattern)
        )

    note: str | None

    def __iter__(self) -> Iterator[Path]:
        found = count = 0
        first: list[Path] = []
        for path in self._candidates:
            if self._is_named or _is_input(path):
                found += 1
                yield path
                continue
            count += 1
            if len(first) < _NAMED_AT_MOST:
                first.append(path)
        if not found:
            raise _nothing_there(self._pattern, any(path.is_dir() for path in first))
        self.note = _note(self.root, first, count)


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


def _candidates(pattern: str | Path) -> tuple[Path, Iterable[Path]]:
    """The folder that is searched, and what has such a name; raises MediaError where a plain name is nobody's."""
    path, counter = Path(pattern), _COUNTER.search(Path(pattern).name)
    if path.is_dir():
        return path, _entries(path)
    if counter and not glob.has_magic(str(pattern)):
        return path.parent, _numbered(path, counter)
    if not glob.has_magic(str(pattern)) and not path.exists():
        hint = f"; a camera is camera:{pattern}" if str(pattern).isdecimal() else ""
        raise MediaError(f"{pattern}: no such file or folder{hint}")
    crossed = "**" in str(pattern)
    matches = map(Path, glob.iglob(str(pattern), recursive=True))
    return _root(path), (each for each in matches if not (crossed and each.is_dir()))


def _entries(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:  # unlike `iterdir`, one after the other
        for entry in entries:
            yield folder / entry.name


def _nothing_there(pattern: str | Path, has_folders: bool) -> MediaError:
    if Path(pattern).is_dir() and has_folders:
        return MediaError(f"{pattern}: no picture or video there; {Path(pattern, '**/*')} takes what is in folders")
    known = " ".join(PICTURE_SUFFIXES + FILM_SUFFIXES)
    return MediaError(f"{pattern}: no picture or video there; known are {known}, and others by their first bytes")


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
