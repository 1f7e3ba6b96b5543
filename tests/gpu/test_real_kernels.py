"""The kernels, compiled for this very GPU and launched by the runtime, against the reference. Needs no engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fcnrt.contract.precision import Precision
from fcnrt.contract.tail import Tail
from fcnrt.contract.types import Array, label_dtype
from fcnrt.gpu.arrays import DeviceFrames, DeviceView, Nv12Frame, packed_view
from fcnrt.gpu.cuda import Gpu, Memory, Stream
from fcnrt.gpu.kernels import DeviceNv12Converter, DeviceResizer, DeviceUpsampler, Kernels
from fcnrt.gpu.proofs import prove_nv12, prove_resizing, prove_upsampling
from fcnrt.ops import reference
from kernel_checks import assert_labels, assert_near, bytes_of, noise

from .engines import Machine

pytestmark = pytest.mark.gpu
HALF, CORNERS, FULL = Tail("half_pixel"), Tail("align_corners"), Tail("none")
GUARD = 300  # elements around what a kernel may read or write
GUARD_BYTE, GUARD_HALF = 0xA5, np.nan


class Bench:
    """The kernels, and memory with guards around it."""

    def __init__(self, gpu: Gpu, kernels: Kernels):
        self.gpu, self.kernels, self.stream = gpu, kernels, Stream(gpu)

    def guarded(self, array: Array, filler: Any) -> tuple[Memory, int]:
        """A copy of an array on the device, amid guards: what keeps it alive, and its address."""
        memory = self.gpu.uploaded(np.pad(array.ravel(), GUARD, constant_values=filler))
        return memory, memory.address + GUARD * array.itemsize

    def result(self, memory: Memory, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """What work has written between guards, which are as they were."""
        self.stream.synchronize()
        whole = self.gpu.downloaded(memory.address, (math.prod(shape) + 2 * GUARD,), dtype)
        kept = np.concatenate([whole[:GUARD], whole[-GUARD:]])
        assert (kept == np.array(GUARD_BYTE, dtype)).all(), "a kernel wrote beyond its result"
        return whole[GUARD:-GUARD].reshape(shape)

    def blank(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> tuple[Memory, int]:
        return self.guarded(np.zeros(shape, dtype), GUARD_BYTE)

    def labels(
        self, scores: Array, size: tuple[int, int], tail: Tail, network: tuple[int, int] | None = None
    ) -> tuple[Array, Array, int]:
        """Labels, confidence and the flag; the labels are those of both kernels."""
        kind = Precision.FP32 if scores.dtype == np.float32 else Precision.FP16
        upsample = DeviceUpsampler(self.kernels, tail, scores.shape, kind, size, network or size)
        shape, dtype = (len(scores), *size), label_dtype(scores.shape[1])
        (kept, source), flag = self.guarded(scores, GUARD_HALF), self.gpu.uploaded(np.zeros(1, np.int32))
        found, plain, sure = self.blank(shape, dtype), self.blank(shape, dtype), self.blank(shape, np.uint8)
        upsample(source, plain[1], None, flag.address, self.stream)
        upsample(source, found[1], sure[1], flag.address, self.stream)
        labels = self.result(found[0], shape, dtype)
        np.testing.assert_array_equal(self.result(plain[0], shape, dtype), labels)
        kept.close()
        return labels, self.result(sure[0], shape, np.uint8), int(self.gpu.downloaded(flag.address, (1,), np.int32)[0])

    def padded(self, array: Array, pad: int) -> DeviceView:
        """Frames (N, H, W, 3) or planes (H, W) or (H, W, 2) on the device, with padding behind rows and frames."""
        inner = array.ndim - (2 if array.ndim == 4 else 1)  # axes whose elements are packed
        rows = array.reshape(*array.shape[:-inner], -1)
        canvas = np.pad(rows, [(0, 0)] * (rows.ndim - 2) + [(0, pad)] * 2, constant_values=GUARD_BYTE)
        memory = self.gpu.uploaded(canvas)
        packed = packed_view(0, array.shape, np.uint8, None).strides[-inner:]
        return DeviceView(memory.address, array.shape, (*canvas.strides[:-1], *packed), array.dtype, memory)

    def pixels(self, work: Callable[[int, Stream], None], shape: tuple[int, ...]) -> Array:
        """The bytes that some work writes to an address on a stream."""
        memory, address = self.blank(shape, np.uint8)
        work(address, self.stream)
        return self.result(memory, shape, np.uint8)


@pytest.fixture
def bench(gpu: Gpu, machine: Machine) -> Bench:
    return Bench(gpu, Kernels(gpu, machine.kernels))


# tail, samples, frame, what the network saw
GEOMETRIES = [
    (HALF, (5, 7), (37, 141), None),
    (HALF, (1, 1), (9, 13), None),
    (HALF, (6, 5), (9, 8), None),
    (HALF, (17, 23), (5, 8), None),
    (HALF, (6, 9), (31, 67), (48, 72)),
    (HALF, (60, 80), (480, 640), None),
    (CORNERS, (5, 7), (33, 53), None),
    (CORNERS, (6, 1), (1, 1), None),
    (CORNERS, (6, 9), (67, 31), (48, 72)),
    (Tail("deconv", 32, 19), (3, 4), (51, 75), None),
    (Tail("deconv", 8, 31), (12, 14), (53, 29), None),
    (Tail("deconv", 8, 31), (12, 14), (9, 29), (37, 51)),
    (FULL, (9, 131), (9, 131), None),
    (Tail("none", 0, 2), (9, 14), (5, 11), None),
    (Tail("none", 0, 2), (13, 18), (23, 33), (9, 14)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("tail", "samples", "size", "network"), GEOMETRIES)
def test_labels_and_confidence_of_every_geometry(
    tail: Tail, samples: tuple[int, int], size: tuple[int, int], network: Any, dtype: Any, bench: Bench
) -> None:
    scores = noise((2, 5, *samples), dtype)
    labels, confidence, flag = bench.labels(scores, size, tail, network)
    logits = reference.upsample(scores, *size, tail, network)
    assert_labels(labels, logits)
    assert_near(confidence, 255 * reference.softmax(logits).max(axis=1))
    assert flag == 0


@pytest.mark.parametrize("classes", [1, 2, 3, 21, 255, 256, 257, 300])
@pytest.mark.parametrize(("samples", "size"), [((3, 4), (17, 25)), ((7, 9), (5, 6))])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_any_number_of_classes(
    classes: int, samples: tuple[int, int], size: tuple[int, int], dtype: Any, bench: Bench
) -> None:
    scores = noise((2, classes, *samples), dtype)
    scores[:, -1, :2] += 20  # the last class wins somewhere: its index must fit
    labels, confidence, _ = bench.labels(scores, size, HALF)
    logits = reference.upsample(scores, *size, HALF)
    assert_labels(labels, logits)
    assert_near(confidence, 255 * reference.softmax(logits).max(axis=1))
    assert labels.max() == classes - 1 and labels.dtype == (np.uint8 if classes <= 256 else np.uint16)


@pytest.mark.parametrize(("samples", "size"), [((3, 4), (17, 25)), ((7, 9), (7, 9))])
def test_ties_go_to_the_lowest_class(samples: tuple[int, int], size: tuple[int, int], bench: Bench) -> None:
    best = noise((2, 1, *samples))
    scores = np.concatenate([best - 1, best, best - 2, best, best], axis=1)
    labels, confidence, _ = bench.labels(scores, size, HALF)
    np.testing.assert_array_equal(labels, np.ones((2, *size)))
    chance = 1 / (3 + math.exp(-1) + math.exp(-2))
    assert_near(confidence, np.full((2, *size), 255 * chance))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("size", [(15, 23), (4, 6)])
def test_scores_that_are_not_finite_are_flagged(bad: float, dtype: Any, size: tuple[int, int], bench: Bench) -> None:
    scores = noise((2, 3, 4, 6), dtype)
    assert bench.labels(scores, size, HALF)[2] == 0
    scores[1, 2, 3, 5] = bad
    assert bench.labels(scores, size, HALF)[2] == 1


BEYOND_32_BITS = 130, 4096  # frames, side: more than 2^31 labels, and scores of two classes beyond 2^32


def test_offsets_beyond_32_bits(bench: Bench) -> None:
    frames, side = BEYOND_32_BITS
    pixels = side * side
    free, _ = bench.gpu.memory_info()
    if free < 6 * frames * pixels:
        pytest.skip(f"needs {6 * frames * pixels / 1e9:.0f} GB of free GPU memory, has {free / 1e9:.0f}")
    scores, labels = Memory(bench.gpu, 4 * frames * pixels), Memory(bench.gpu, frames * pixels)
    flag = bench.gpu.uploaded(np.zeros(1, np.int32))
    last = noise((1, 2, side, side), np.float16)
    bench.gpu.call("cuMemsetD8Async", labels.address, GUARD_BYTE, labels.nbytes, bench.stream.handle)
    bench.gpu.call("cuMemsetD8Async", scores.address, 0, scores.nbytes, bench.stream.handle)
    bench.stream.synchronize()
    bench.gpu.call("cuMemcpyHtoD", scores.address + (frames - 1) * last.nbytes, last.ctypes.data, last.nbytes)
    upsample = DeviceUpsampler(bench.kernels, FULL, (frames, 2, side, side), Precision.FP16, (side, side), (side, side))
    upsample(scores.address, labels.address, None, flag.address, bench.stream)
    bench.stream.synchronize()
    first, final = (
        bench.gpu.downloaded(labels.address + frame * pixels, (side, side), np.uint8) for frame in (0, frames - 1)
    )
    assert not first.any()
    np.testing.assert_array_equal(final, reference.argmax(last)[0])


RESIZES = [
    ((9, 14), (5, 6), True, False),
    ((9, 14), (13, 301), True, True),
    ((31, 7), (4, 20), False, False),
    ((1, 1), (3, 2), True, True),
    ((6, 5), (1, 1), False, True),
    ((131, 300), (7, 11), True, False),
    ((480, 641), (257, 513), True, False),
]


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize(("source", "target", "antialias", "swap"), RESIZES)
def test_resized_frames(
    source: tuple[int, int], target: tuple[int, int], antialias: bool, swap: bool, pad: int, bench: Bench
) -> None:
    frames = bytes_of(2, *source, 3)
    view, resize = bench.padded(frames, pad), DeviceResizer(bench.kernels, source, target, antialias, swap)
    resized = bench.pixels(lambda address, stream: resize(view, address, stream), (2, *target, 3))
    assert_near(resized, reference.resize(frames[..., ::-1] if swap else frames, target, antialias))


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_to_the_same_size_is_an_exact_copy(antialias: bool, swap: bool, bench: Bench) -> None:
    frames = bytes_of(2, 9, 133, 3)
    view, resize = bench.padded(frames, 7), DeviceResizer(bench.kernels, (9, 133), (9, 133), antialias, swap)
    copied = bench.pixels(lambda address, stream: resize(view, address, stream), frames.shape)
    np.testing.assert_array_equal(copied, frames[..., ::-1] if swap else frames)


@pytest.mark.parametrize(("pad", "swap"), [(0, False), (11, True)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 7), (1, 1), (3, 259), (1080, 1920)])
def test_nv12_pixels(
    height: int, width: int, full_range: bool, matrix: Any, pad: int, swap: bool, bench: Bench
) -> None:
    luma, chroma = bytes_of(height, width), bytes_of(-(-height // 2), -(-width // 2), 2, seed=1)
    planes = bench.padded(luma, pad), bench.padded(chroma, pad)
    frames = DeviceFrames(planes, False, Nv12Frame(*planes, matrix=matrix, full_range=full_range))
    convert = DeviceNv12Converter(bench.kernels, swap)
    pixels = bench.pixels(lambda address, stream: convert(frames, address, stream), (height, width, 3))
    expected = reference.nv12_to_rgb(luma, chroma, matrix, full_range)
    assert_near(pixels, expected[..., ::-1] if swap else expected)


def test_every_proof_at_load_is_passed(bench: Bench) -> None:
    for classes in (1, 2, 21, 256, 300):
        prove_upsampling(bench.kernels, bench.stream, classes, Precision.FP32)
        prove_upsampling(bench.kernels, bench.stream, classes, Precision.FP16)
    prove_resizing(bench.kernels, bench.stream)
    prove_nv12(bench.kernels, bench.stream)
