"""The best that this machine does at a large matrix product and at a copy; each measured within a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..machine import MIB
from ..status import status

Device = Literal["cpu", "cuda"]
Multiply = Callable[[int], Callable[[], object]]  # of square matrices of one side, made beforehand

GIGA = 1e9
FIRST_SIDE = 256
LARGEST_SIDE = {"cpu": 2048, "cuda": 8192}  # large enough for the best rate
COPY_NBYTES = 256 * MIB
REPEATS, LIMIT_S = 7, 1.0
# Without instructions for it a product in bfloat16 is hundreds of times slower than in float32: nobody's ceiling.
EMULATED = 1 / 8


def ceilings(device: Device, threads: int) -> dict[str, float]:
    """Measure with as many threads as the contenders; says on stderr what it does.

    Args:
        device: where.
        threads: of torch on the CPU.

    Returns:
        GFLOP/s of matrix products of random numbers by precision ("fp32", on GPUs "fp16", and "bf16" where the
        processor has it), a multiplication and an addition being two, and "copy": GB/s read and written together. On
        the CPU in fp32 the best of torch, ONNX Runtime and numpy counts: torch's own library does half of what some
        processors can. Without torch numpy multiplies with the threads of its own BLAS; what GPUs do is not known.
    """
    try:
        import torch
    except ImportError:
        return {} if device == "cuda" else {"fp32": _product_rate("fp32", device, _numpy), "copy": _copy_rate(_copied)}
    if device == "cuda" and not torch.cuda.is_available():
        return {}
    torch.set_num_threads(threads)
    types = {"fp32": torch.float32, "bf16": torch.bfloat16} | ({"fp16": torch.float16} if device == "cuda" else {})
    rates = {name: _product_rate(name, device, _torch(device, dtype)) for name, dtype in types.items()}
    if device == "cpu":
        others = (_product_rate("fp32", device, multiply) for multiply in (_onnxruntime(threads), _numpy))
        rates["fp32"] = max(rates["fp32"], *others)
    real = {name: rate for name, rate in rates.items() if rate > EMULATED * rates["fp32"]}
    return {**real, "copy": _copy_rate(_torch_copy(device))}


def best_seconds(run: Callable[[], object], repeats: int = REPEATS, limit_s: float = LIMIT_S) -> float:
    """The shortest of several runs after one to warm up: a ceiling is what was reached, not what is usual.

    After `limit_s` seconds no more runs are begun.
    """
    run()
    elapsed = [_seconds(run)]
    while len(elapsed) < repeats and sum(elapsed) < limit_s:
        elapsed.append(_seconds(run))
    return min(elapsed)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _product_rate(precision: str, device: Device, multiply: Multiply) -> float:
    """GFLOP/s at the largest side of which a product takes no more than `LIMIT_S`."""
    status(f"measuring what this machine does at best: matrix products in {precision}")
    side, largest = min(FIRST_SIDE, LARGEST_SIDE[device]), LARGEST_SIDE[device]
    while side < largest and 8 * best_seconds(multiply(side), repeats=1) < LIMIT_S:
        side *= 2
    return 2 * side**3 / best_seconds(multiply(side)) / GIGA


def _copy_rate(copy: Callable[[int], Callable[[], object]]) -> float:
    status("measuring what this machine does at best: copies")
    return 2 * COPY_NBYTES / best_seconds(copy(COPY_NBYTES)) / GIGA


def _torch(device: Device, dtype: Any) -> Multiply:
    import torch

    def prepare(side: int) -> Callable[[], object]:
        generator = torch.Generator(device).manual_seed(0)
        a, b = (torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
        target = torch.empty_like(a)
        return lambda: _finished(device, torch.mm(a, b, out=target))

    return prepare


def _torch_copy(device: Device) -> Callable[[int], Callable[[], object]]:
    import torch

    def prepare(nbytes: int) -> Callable[[], object]:
        source = torch.ones(nbytes, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        return lambda: _finished(device, target.copy_(source))

    return prepare


def _finished(device: Device, result: Any) -> Any:
    """Wait for work that was only enqueued."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return result


def _onnxruntime(threads: int) -> Multiply:
    """numpy's where ONNX Runtime or onnx is missing."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper
    except ImportError:
        return _numpy

    def prepare(side: int) -> Callable[[], object]:
        kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in "abc"]
        graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", kinds[:2], kinds[2:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        a, b = _random(side)
        return lambda: session.run(None, {"a": a, "b": b})

    return prepare


def _numpy(side: int) -> Callable[[], object]:
    a, b = _random(side)
    return lambda: np.matmul(a, b)


def _random(side: int) -> Any:
    return np.random.default_rng(0).standard_normal((2, side, side), dtype=np.float32)


def _copied(nbytes: int) -> Callable[[], object]:
    source = np.ones(nbytes, np.uint8)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)
