"""The machine that figures are measured on: what it is, and what is installed."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fcnrt.errors import FcnrtError

PACKAGES = ("numpy", "onnxruntime-gpu", "onnxruntime", "torch", "openvino", "tensorrt", "tensorrt-rtx", "triton")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
MIB = 2**20


def environment(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Processor, GPU, memory, operating system, and the versions of what is installed."""
    return {
        "cpu": cpu_name(),
        "cpu_features": cpu_features(),
        "cores": os.cpu_count(),
        "memory_gib": memory_gib(),
        "last_level_cache_mib": cache_nbytes() / MIB,
        "gpu": gpu_facts(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in packages if (found := version_of(name))},
    }


def cpu_name() -> str:
    """The processor's name as Linux knows it."""
    return _first(_text("/proc/cpuinfo"), r"model name\s*: (.*)") or platform.processor()


def cpu_features() -> list[str]:
    """The vector instructions that decide how fast networks are."""
    flags = (_first(_text("/proc/cpuinfo"), r"flags\s*: (.*)") or "").split()
    return [name for name in FEATURES if name in flags]


def memory_gib() -> float | None:
    """The machine's memory, None where Linux does not tell."""
    kib = _first(_text("/proc/meminfo"), r"MemTotal:\s*(\d+)")
    return round(int(kib) / 2**20, 1) if kib else None


def cache_nbytes() -> int:
    """Size of the largest cache that Linux reports, 32 MiB where it reports none."""
    files = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    units = {"K": 1 << 10, "M": 1 << 20}
    return max((int(text[:-1]) * units[text[-1]] for f in files if (text := f.read_text().strip())), default=32 << 20)


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def gpu_facts() -> dict[str, Any] | None:
    """The first GPU's name, compute capability, memory and driver; None where there is none that works."""
    from fcnrt.gpu.cuda import Gpu

    try:
        gpu = Gpu(0)
        with gpu.current():
            _, total = gpu.memory_info()
            cuda = int(gpu.call("cuDriverGetVersion"))
    except FcnrtError:
        return None
    return {
        "name": gpu.name,
        "capability": gpu.capability,
        "memory_gib": round(total / 2**30, 1),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        "driver": _driver_version(),
    }


def load_average() -> float | None:
    """Processes that wanted a core in the last minute; None where the system does not count them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def peak_host_nbytes() -> int | None:
    """The most memory that this process has held so far; None where Linux does not tell."""
    kib = _first(_text("/proc/self/status"), r"VmHWM:\s*(\d+)")
    return int(kib) * 1024 if kib else None


def used_device_nbytes() -> int | None:
    """Memory of the first GPU that is in use, by whomever; None where there is no GPU."""
    from fcnrt.gpu.cuda import Gpu

    try:
        gpu = Gpu(0)
        with gpu.current():
            free, total = gpu.memory_info()
    except FcnrtError:
        return None
    return total - free


def _driver_version() -> str | None:
    return _first(_text("/proc/driver/nvidia/version"), r"Kernel Module.*?\s(\d+\.[\d.]+)")


def _text(path: str) -> str:
    """A file of the system's, empty where there is none."""
    return Path(path).read_text() if Path(path).exists() else ""


def _first(text: str, pattern: str) -> str | None:
    found = re.search(pattern, text)
    return found[1].strip() if found else None
