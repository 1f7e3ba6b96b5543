"""What the files of results have in common: the command to repeat, the date, and that they are written whole."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fcnrt.contract.files import write_json

RESULTS = Path("results")  # where the user is; those that are published lie in benchmarks/results


def shown(words: Iterable[str]) -> list[str]:
    """Words of a command line; of paths the name alone, folders are somebody's own."""
    return [_without_folder(word) for word in words]


def now() -> str:
    """Date and time, UTC, to the second, as ISO 8601 has it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def write_result(result: Mapping[str, Any], output: Path) -> None:
    """Write a result as JSON; raises OSError."""
    write_json(output, result)


def _without_folder(word: str) -> str:
    flag, equals, value = word.rpartition("=")
    return word if re.fullmatch(r"\d+/\d+", value) else flag + equals + Path(value).name
