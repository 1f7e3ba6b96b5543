"""Files that list inputs: `@cameras.txt`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import MediaError


def expand_lists(inputs: Iterable[str]) -> Iterator[str]:
    """Put in place of each `@FILE` the inputs that it lists, one a line; empty lines and those after # are left out.

    Raises:
        MediaError: such a file cannot be read, or lists nothing.
    """
    for each in inputs:
        if each.startswith("@"):
            yield from _listed(each[1:])
        else:
            yield each


def _listed(path: str) -> Iterator[str]:
    empty = True
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for line in map(str.strip, lines):
                if line and not line.startswith("#"):
                    empty = False
                    yield line
    except (OSError, ValueError) as error:
        raise MediaError(
            f"@{path}: cannot read this list of inputs: {getattr(error, 'strerror', None) or 'no text'}"
        ) from error
    if empty:
        raise MediaError(f"@{path}: expected an input on each line, got none")
