"""What `fcnrt tune` measured on this machine, kept in the user's cache folder.

An entry holds for a file's content, a machine, the versions of the engines and a number of threads; whatever of that
changes, there is none. What cannot be read is as if it were not there.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..contract.certificate import digest
from ..contract.files import write_json

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")


def cache_folder() -> Path:
    """Where fcnrt keeps what it can make anew."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fcnrt"


def recall(file: Path, threads: int | None) -> dict[str, float]:
    """What was measured of a file: shares of the time that ONNX Runtime takes in float32, by way; {} for nothing."""
    entries = _entries()
    size = file.stat().st_size
    if all(entry.get("bytes") != size for entry in entries.values()):  # spares most files being hashed
        return {}
    found = entries.get(_key(file, threads), {})
    return {way: ratio for way, ratio in found.get("ratios", {}).items() if isinstance(ratio, float)}


def remember(file: Path, threads: int | None, ratios: Mapping[str, float], facts: Mapping[str, Any]) -> Path:
    """Keep what was measured.

    Args:
        file: the model.
        threads: as the Segmenter was given them.
        ratios: shares of the time that ONNX Runtime takes in float32, by way.
        facts: for people who look into the cache.

    Returns:
        The cache's file.

    Raises:
        OSError: it cannot be written.
    """
    entry = {"bytes": file.stat().st_size, "ratios": dict(ratios), **facts}
    write_json(_path(), {**_entries(), _key(file, threads): entry})
    return _path()


def _path() -> Path:
    return cache_folder() / "tuned.json"


def _entries() -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: entry for key, entry in found.items() if isinstance(entry, dict)} if isinstance(found, dict) else {}


def _key(file: Path, threads: int | None) -> str:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        model = hashlib.sha256(content).hexdigest()
    return digest([model, _machine(), _versions(), threads])


def _machine() -> list[Any]:
    """What decides how fast the processor is: its name and abilities as Linux knows them, and its cores."""
    try:
        lines = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines())
    except OSError:
        lines = set()
    named = sorted(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
    return [platform.machine(), platform.processor(), os.cpu_count(), *named]


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
