"""The machine that figures are measured on: what it is, what is installed, and what it could do at best."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fcnrt.errors import FcnrtError

Device = Literal["cpu", "cuda"]

PACKAGES = ("numpy", "onnxruntime-gpu", "onnxruntime", "torch", "openvino", "tensorrt", "tensorrt-rtx", "triton")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
GIGA, MIB = 1e9, 2**20
_PRODUCT_SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices: large enough for the best rate, not for minutes
_COPY_NBYTES = 256 * MIB
_REPEATS = 7


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


def ceilings(device: Device, threads: int) -> dict[str, float]:
    """The best that this machine does at a large matrix product and at a copy, with as many threads as the contenders.

    Args:
        device: where.
        threads: of torch on the CPU.

    Returns:
        GFLOP/s of matrix products of random numbers by precision ("fp32", "bf16", on GPUs "fp16"), a multiplication
        and an addition being two, and "copy": GB/s read and written together. On the CPU in fp32 the best of torch,
        ONNX Runtime and numpy counts: torch's own library does half of what some processors can. Without torch numpy
        multiplies with the threads of its own BLAS; what GPUs do is then not known.
    """
    try:
        import torch
    except ImportError:
        return {} if device == "cuda" else {"fp32": _numpy_product_rate(), "copy": _numpy_copy_rate()}
    if device == "cuda" and not torch.cuda.is_available():
        return {}
    torch.set_num_threads(threads)
    types = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if device == "cuda":
        types["fp16"] = torch.float16
    rates = {name: _torch_product_rate(device, dtype) for name, dtype in types.items()}
    if device == "cpu":
        rates["fp32"] = max(rates["fp32"], _onnxruntime_product_rate(threads), _numpy_product_rate())
    return {**rates, "copy": _torch_copy_rate(device)}


def best_seconds(run: Callable[[], object], repeats: int = _REPEATS) -> float:
    """The shortest of several runs after one to warm up: a ceiling is what was reached, not what is usual."""
    run()
    elapsed = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        elapsed.append(time.perf_counter() - start)
    return min(elapsed)


def _torch_product_rate(device: Device, dtype: Any) -> float:
    import torch

    side = _PRODUCT_SIDE[device]
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
    target = torch.empty_like(a)
    return 2 * side**3 / best_seconds(lambda: _finished(device, torch.mm(a, b, out=target))) / GIGA


def _torch_copy_rate(device: Device) -> float:
    import torch

    source = torch.ones(_COPY_NBYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY_NBYTES / best_seconds(lambda: _finished(device, target.copy_(source))) / GIGA


def _finished(device: Device, result: Any) -> Any:
    """Wait for work that was only enqueued."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return result


def _onnxruntime_product_rate(threads: int) -> float:
    """0 where ONNX Runtime or onnx is missing."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper
    except ImportError:
        return 0.0
    side = _PRODUCT_SIDE["cpu"]
    kinds = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in "abc"}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "product", [*kinds.values()][:2], [kinds["c"]]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    a, b = np.random.default_rng(0).standard_normal((2, side, side), dtype=np.float32)
    return 2 * side**3 / best_seconds(lambda: session.run(None, {"a": a, "b": b})) / GIGA


def _numpy_product_rate() -> float:
    side = _PRODUCT_SIDE["cpu"]
    a, b = np.random.default_rng(0).standard_normal((2, side, side), dtype=np.float32)
    return 2 * side**3 / best_seconds(lambda: np.matmul(a, b)) / GIGA


def _numpy_copy_rate() -> float:
    source = np.ones(_COPY_NBYTES, np.uint8)
    target = np.empty_like(source)
    return 2 * _COPY_NBYTES / best_seconds(lambda: np.copyto(target, source)) / GIGA


def _driver_version() -> str | None:
    return _first(_text("/proc/driver/nvidia/version"), r"Kernel Module.*?\s(\d+\.[\d.]+)")


def _text(path: str) -> str:
    """A file of the system's, empty where there is none."""
    return Path(path).read_text() if Path(path).exists() else ""


def _first(text: str, pattern: str) -> str | None:
    found = re.search(pattern, text)
    return found[1].strip() if found else None
