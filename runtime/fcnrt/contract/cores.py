"""How many cores this process may compute on."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def cores(cpus: Path = CPUS) -> int:
    """Physical cores, as engines count them; logical ones where the system does not tell them apart.

    Args:
        cpus: where Linux describes them.
    """
    return len({_siblings(cpus, number) for number in _allowed()})


def logical_cores() -> int:
    """How many threads the system runs at once for this process; fewer than the machine's where it is confined."""
    return len(_allowed())


def _allowed() -> Collection[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _siblings(cpus: Path, number: int) -> str:
    """A name for the core of a logical one."""
    try:
        return (cpus / f"cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)
