"""What became of everything that was tried: told at the end, and as an exit status."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One thing that was tried.

    Attributes:
        name: of a Python, a runtime or a server.
        told: what became of it, in a few words.
        failed: whether that is not as it should be; what could not be had here is no failure.
        more: for a table of it.
    """

    name: str
    told: str
    failed: bool = False
    more: tuple[str, ...] = ()


def tried(name: str, attempt: Callable[[], Row]) -> Row:
    """What an attempt gives; whatever it raises is its failure, and not the end of the others."""
    try:
        return attempt()
    except Exception as error:
        traceback.print_exc()
        return Row(name, f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", True)


def tell(parts: dict[str, Sequence[Row]]) -> int:
    """Print all rows by part; 1 where one has failed."""
    width = max((len(row.name) for rows in parts.values() for row in rows), default=0)
    for part, rows in parts.items():
        print(f"\n{part}")
        for row in rows:
            print(f"  {'FAILED' if row.failed else '      '}  {row.name:{width}}  {row.told}")
    failed = sum(row.failed for rows in parts.values() for row in rows)
    print(f"\n{sum(map(len, parts.values()))} tried, {failed} failed", flush=True)
    return int(failed > 0)
