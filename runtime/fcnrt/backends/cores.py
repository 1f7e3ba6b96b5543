"""How many cores this process may compute on."""

from __future__ import annotations

import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def cores(cpus: Path = CPUS) -> int:
    """Physical cores, as engines count them; logical ones where the system does not tell them apart.

    Args:
        cpus: where Linux describes them.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len({_siblings(cpus, number) for number in allowed})


def _siblings(cpus: Path, number: int) -> str:
    """A name for the core of a logical one."""
    try:
        return (cpus / f"cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)
