"""How much memory a process may still take: the machine's, or what its container or service is allowed."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path

ROOT = Path("/")


def available_bytes(root: Path = ROOT) -> float:
    """Bytes that can be taken without others being pushed out; infinite where the system does not tell.

    Args:
        root: of the file system, where Linux tells it.
    """
    return max(0, min(_of_the_machine(root), *_of_groups(root), math.inf))


def _of_the_machine(root: Path) -> float:
    with contextlib.suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB", (root / "proc/meminfo").read_text(), re.MULTILINE)
        return int(found[1]) << 10 if found else math.inf
    return math.inf


def _of_groups(root: Path) -> list[float]:
    """What control groups leave, version 2, of this process's and of all above it."""
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        paths = [Path(line[3:].lstrip("/")) for line in lines if line.startswith("0::")]
        groups = [root / "sys/fs/cgroup" / group for path in paths for group in (path, *path.parents)]
        return [_left_in(group) for group in groups]
    return []


def _left_in(group: Path) -> float:
    """The limit, less what is in use and cannot be given back at once."""
    try:
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        cache = re.search(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.MULTILINE)
        return math.inf if limit == "max" else int(limit) - int(used) + (int(cache[1]) if cache else 0)
    except (OSError, ValueError):
        return math.inf
