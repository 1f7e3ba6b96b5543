"""Files that list inputs: `@cameras.txt`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import MediaError


def expand_lists(inputs: Sequence[str]) -> list[str]:
    """Put in place of each `@FILE` the inputs that it lists, one a line; empty lines and those after # are left out.

    Raises:
        MediaError: such a file cannot be read, or lists nothing.
    """
    return [where for each in inputs for where in (_listed(each[1:]) if each.startswith("@") else [each])]


def _listed(path: str) -> list[str]:
    try:
        lines = map(str.strip, Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise MediaError(
            f"@{path}: cannot read this list of inputs: {getattr(error, 'strerror', 'no text')}"
        ) from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise MediaError(f"@{path}: expected an input on each line, got none")
    return found
