"""The GPU kernels of fcn_export.kernels in numpy: the same arguments, float32 arithmetic and roundings, fast.

Each kernel first takes its arguments as arrays of exactly the extents that the interface gives them, which checks
bounds and notes races; triton_kernels.py does the same and then runs the real kernel in Triton's interpreter.

Not proved: anything about Triton, the compiled code or its speed; see tests/export/test_gpu_kernels.py for the former.
"""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from fcn_export.kernels import compiling
from fcnrt.contract.types import Array

from .kernels import KernelFunction
from .machine import SimulatedCuda
from .memory import Memory
from .misuse import Misuse

Grid = tuple[int, int, int]
Maker = Callable[[Memory, compiling.Variant], KernelFunction]

_DTYPES = {"*fp32": np.float32, "*fp16": np.float16, "*u8": np.uint8, "*u16": np.uint16}
_COLORS = 3


def kernel_records(gpu: SimulatedCuda, sm: int | None = None, make: Maker | None = None) -> list[dict[str, Any]]:
    """Records of all kernels whose cubins the simulation runs, as an engine's sidecar holds them.

    Args:
        gpu: the simulation.
        sm: compute capability that they are for; the simulation's own by default.
        make: what makes a function of a kernel's variant: `numpy_kernel`, or triton_kernels.interpreted_kernel.
    """
    sm = sm or gpu.sm
    return [_record(gpu, variant, sm, make or numpy_kernel) for variant in compiling._variants(None, None)]


def run_records(gpu: SimulatedCuda, records: Sequence[dict[str, Any]], make: Maker | None = None) -> None:
    """Let the simulation run the cubins of records that were really compiled."""
    variants = {(variant.kernel, variant.name): variant for variant in compiling._variants(None, None)}
    for record in records:
        _register(gpu, record, variants[record["name"], record["variant"]], make or numpy_kernel)


def numpy_kernel(memory: Memory, variant: compiling.Variant) -> KernelFunction:
    """The function of a kernel's variant."""
    run = {"upsample_argmax": _upsample_argmax, "resize": _resize, "nv12_to_rgb": _nv12_to_rgb}[variant.kernel]
    return functools.partial(_run, run, memory, variant)


def bound(memory: Memory, variant: compiling.Variant, grid: Grid, arguments: Sequence[Any]) -> SimpleNamespace:
    """The arguments by name, pointers as arrays of their full extents; checked against memory and grid."""
    bind = {"upsample_argmax": _bind_upsample, "resize": _bind_resize, "nv12_to_rgb": _bind_nv12}[variant.kernel]
    return bind(memory, variant, grid, arguments)


def _run(run: Any, memory: Memory, variant: compiling.Variant, grid: Grid, *arguments: Any) -> None:
    run(bound(memory, variant, grid, arguments))


def _record(gpu: SimulatedCuda, variant: compiling.Variant, sm: int, make: Maker) -> dict[str, Any]:
    cubin = f"simulated {variant.kernel} {variant.name} sm_{sm}".encode()
    record = {
        "name": variant.kernel,
        "variant": variant.name,
        "sm": sm,
        "entry": variant.kernel,
        "warps": variant.warps,
        "shared_bytes": 0,
        "tile": variant.tile,
        "parameters": list(variant.parameters),
        "cubin": base64.b64encode(cubin).decode(),
    }
    _register(gpu, record, variant, make)
    return record


def _register(gpu: SimulatedCuda, record: dict[str, Any], variant: compiling.Variant, make: Maker) -> None:
    gpu.kernels.register(
        base64.b64decode(record["cubin"]),
        record["entry"],
        make(gpu.memory, variant),
        tuple(record["parameters"]),
        threads=32 * record["warps"],
        sm=record["sm"],
    )


def _bind_upsample(memory: Memory, variant: compiling.Variant, grid: Grid, arguments: Sequence[Any]) -> SimpleNamespace:
    scores, labels, confidence, *tables, nonfinite = arguments[:9]
    classes, rows, cols, height, width = arguments[9:]
    _check_grid(grid[0], width, variant)
    _, bands, batch = grid
    types = [np.int32, np.float32, np.int32, np.float32, np.int32]
    lengths = [height, height, width, width, bands + 1]
    row_low, row_frac, col_low, col_frac, starts = (
        memory.view(address, (length,), dtype) for address, length, dtype in zip(tables, lengths, types, strict=True)
    )
    _check_bands(starts, row_low, height, variant.tile[0])
    output = (batch, height, width)
    return SimpleNamespace(
        scores=memory.view(scores, (batch, classes, rows, cols), _DTYPES[variant.parameters[0]]),
        labels=memory.view(labels, output, _DTYPES[variant.parameters[1]], writes=True),
        confidence=memory.view(confidence, output, np.uint8, writes=True) if variant.constants["CONFIDENCE"] else None,
        row_low=row_low, row_frac=row_frac, col_low=col_low, col_frac=col_frac, band_start=starts,
        nonfinite=memory.unnoted(nonfinite, (1,), np.int32),  # setting a flag twice is no race
        sizes=(classes, rows, cols, height, width),
    )  # fmt: skip


def _bind_resize(memory: Memory, variant: compiling.Variant, grid: Grid, arguments: Sequence[Any]) -> SimpleNamespace:
    source, target, row_first, row_weight, col_first, col_weight, row_taps, col_taps = arguments[:8]
    source_height, source_width, row_bytes, frame_bytes, height, width, swap = arguments[8:]
    _check_grid(grid[0], width, variant)
    if grid[1] != height:
        raise Misuse(f"resize: {grid[1]} rows of programs for {height} rows of pixels")
    shape = grid[2], source_height, source_width, _COLORS
    return SimpleNamespace(
        source=_strided(memory, source, shape, (frame_bytes, row_bytes, _COLORS, 1)),
        target=memory.view(target, (grid[2], height, width, _COLORS), np.uint8, writes=True),
        row_first=memory.view(row_first, (height,), np.int32),
        row_weight=memory.view(row_weight, (height, row_taps), np.float32),
        col_first=memory.view(col_first, (width,), np.int32),
        col_weight=memory.view(col_weight, (width, col_taps), np.float32),
        counts=(row_taps, col_taps),
        sizes=(source_height, source_width, row_bytes, frame_bytes, height, width),
        swap=swap,
    )


def _bind_nv12(memory: Memory, variant: compiling.Variant, grid: Grid, arguments: Sequence[Any]) -> SimpleNamespace:
    luma, chroma, target, luma_bytes, chroma_bytes, height, width, *coefficients, swap = arguments
    _check_grid(grid[0], width, variant)
    if grid[1:] != (height, 1):
        raise Misuse(f"nv12_to_rgb: grid {grid} for one frame of {height} rows")
    half = (height + 1) // 2, (width + 1) // 2
    return SimpleNamespace(
        luma=_strided(memory, luma, (height, width), (luma_bytes, 1)),
        chroma=_strided(memory, chroma, (*half, 2), (chroma_bytes, 2, 1)),
        target=memory.view(target, (height, width, _COLORS), np.uint8, writes=True),
        strides=(luma_bytes, chroma_bytes),
        sizes=(height, width),
        coefficients=coefficients,
        swap=swap,
    )


def _strided(memory: Memory, address: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A read-only uint8 array with strides of any sign."""
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    before, behind = sum(step for step in reach if step < 0), sum(step for step in reach if step > 0)
    flat = memory.view(address + before, (behind - before + 1,), np.uint8)
    return np.lib.stride_tricks.as_strided(flat[-before:], shape, strides, writeable=False)


def _check_grid(programs: int, width: int, variant: compiling.Variant) -> None:
    if programs != -(-width // variant.tile[1]):
        raise Misuse(f"{variant.kernel}: {programs} programs of {variant.tile[1]} columns for {width} columns")


def _check_bands(starts: Array, row_low: Array, height: int, most: int) -> None:
    """Bands cover all rows, are not too long for a tile, and share one row of scores."""
    counts = np.diff(starts)
    whole = starts[0] == 0 and starts[-1] == height and (counts > 0).all() and (counts <= most).all()
    if not whole or any(np.ptp(row_low[first:end]) for first, end in itertools.pairwise(starts)):
        raise Misuse(f"upsample_argmax: bands {starts} of at most {most} rows for {height} rows of pixels")


def _upsample_argmax(given: SimpleNamespace) -> None:
    for frame, scores_chw in enumerate(given.scores):
        logits = _logits(given, scores_chw.astype(np.float32))
        winner = logits.argmax(axis=0) if not np.isnan(logits).any() else _first_best(logits)
        given.labels[frame] = winner
        if given.confidence is not None:
            best = logits.max(axis=0)
            total = np.exp((logits - best).astype(np.float64)).sum(axis=0)
            given.confidence[frame] = _byte(255.0 / total)


def _logits(given: SimpleNamespace, scores_chw: Array) -> Array:
    """Interpolated scores, float32 (C, H, W); the flag is set where they are not finite."""
    _, rows, cols, *_ = given.sizes
    across = np.where(given.col_low + 1 < cols, given.col_frac, np.float32(0))
    left, right = given.col_low, np.minimum(given.col_low + 1, cols - 1)
    with np.errstate(invalid="ignore", over="ignore"):
        between = _fma(across, _weighted(scores_chw[:, :, right], across), (1 - across) * scores_chw[:, :, left])
        above = between[:, given.row_low]  # (C, H, W)
        below = between[:, np.minimum(given.row_low + 1, rows - 1)]
        down = given.row_frac[None, :, None]
        slope = np.where(down > 0, below - above, np.float32(0))
        if not np.isfinite(above).all() or not np.isfinite(slope).all():
            given.nonfinite[0] = 1
        return _fma(down, slope, above)


def _weighted(samples: Array, share: Array) -> Array:
    """Samples of weight 0 are not read: an infinity there does no harm."""
    return np.where(share > 0, samples, np.float32(0))


def _first_best(logits: Array) -> Array:
    """As the kernel compares: NaN never wins."""
    return np.where(np.isnan(logits), -np.inf, logits).argmax(axis=0)


def _resize(given: SimpleNamespace) -> None:
    source_height, source_width, *_ = given.sizes
    row_taps, col_taps = given.counts
    total = np.zeros(given.target.shape, np.float32)
    for k in range(col_taps):
        columns = np.minimum(given.col_first + k, source_width - 1)
        for j in range(row_taps):
            rows = np.minimum(given.row_first + j, source_height - 1)
            share = given.row_weight[:, j, None] * given.col_weight[None, :, k]  # (H, W)
            total = _fma(share[..., None], given.source[:, rows][:, :, columns].astype(np.float32), total)
    given.target[...] = _byte(total)[..., ::-1] if given.swap else _byte(total)


def _nv12_to_rgb(given: SimpleNamespace) -> None:
    height, width = given.sizes
    offset, gain, red_v, green_u, green_v, blue_u = (np.float32(value) for value in given.coefficients)
    pairs = given.chroma[np.arange(height) // 2][:, np.arange(width) // 2].astype(np.float32) - 128
    u, v = pairs[..., 0], pairs[..., 1]
    grey = gain * (given.luma.astype(np.float32) - offset)
    colors = [_fma(red_v, v, grey), _fma(green_u, u, _fma(green_v, v, grey)), _fma(blue_u, u, grey)]
    given.target[...] = np.stack([_byte(color) for color in colors[:: -1 if given.swap else 1]], axis=-1)


def _fma(a: Any, b: Any, c: Any) -> Array:
    """a * b + c, rounded once: float64 holds the product of two float32 exactly."""
    return (np.float64(1) * a * b + c).astype(np.float32)


def _byte(values: Array) -> Array:
    return np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)
