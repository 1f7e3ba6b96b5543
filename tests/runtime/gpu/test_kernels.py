"""Launching the GPU kernels: which one is chosen, what it is given, and that labels, frames and pixels are right.

The driver is simulated, the kernels run in numpy or, real, in Triton's interpreter: nothing here is a GPU's.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fcnrt
from fcn_export.kernels.compiling import Variant
from fcnrt.contract.precision import Precision
from fcnrt.contract.tail import Tail
from fcnrt.contract.types import Array, label_dtype
from fcnrt.gpu import kernels
from fcnrt.gpu.arrays import DeviceFrames, DeviceView, Nv12Frame, packed_view
from fcnrt.gpu.cuda import Gpu, Memory, Stream
from fcnrt.gpu.kernels import DeviceNv12Converter, DeviceResizer, DeviceUpsampler, Kernels, installed_kernels
from fcnrt.ops import reference
from kernel_checks import assert_labels, assert_near, bytes_of, noise
from simulated import MODES, SimulatedCuda, simulated_cuda
from simulated.kernel_functions import Maker, kernel_records, numpy_kernel
from simulated.kernels import KernelFunction
from simulated.memory import Memory as SimulatedMemory
from simulated.triton_kernels import interpreted_kernel

HALF, CORNERS, FULL, PADDED = Tail("half_pixel"), Tail("align_corners"), Tail("none"), Tail("none", 0, 2)


class Device:
    """A simulated GPU, current, with all kernels.

    Attributes:
        launched: names of the kernels that were executed.
    """

    def __init__(self, simulated: SimulatedCuda, gpu: Gpu, make: Maker):
        self.simulated, self.gpu = simulated, gpu
        self.launched: list[str] = []
        self.stream = Stream(self.gpu)
        self.kernels = Kernels(self.gpu, kernel_records(simulated, make=self._noting(make)))

    def _noting(self, make: Maker) -> Maker:
        def noting(memory: SimulatedMemory, variant: Variant) -> KernelFunction:
            run = make(memory, variant)

            def noted(grid: Any, *arguments: Any) -> None:
                self.launched.append(f"{variant.kernel} {variant.name}")
                run(grid, *arguments)

            return noted

        return noting

    def labels(
        self, scores: Array, size: tuple[int, int], tail: Tail, network: tuple[int, int] | None = None
    ) -> tuple[Array, Array, int]:
        """Labels, confidence and the flag; the labels are those of both kernels."""
        kind = Precision.FP32 if scores.dtype == np.float32 else Precision.FP16
        upsample = DeviceUpsampler(self.kernels, tail, scores.shape, kind, size, network or size)
        shape, dtype = (len(scores), *size), np.dtype(label_dtype(scores.shape[1]))
        source, flag = self.gpu.uploaded(scores), self.gpu.uploaded(np.zeros(1, np.int32))
        plain, labels = (Memory(self.gpu, int(np.prod(shape)) * dtype.itemsize) for _ in range(2))
        confidence = Memory(self.gpu, int(np.prod(shape)))
        upsample(source.address, plain.address, None, flag.address, self.stream)
        upsample(source.address, labels.address, confidence.address, flag.address, self.stream)
        self.stream.synchronize()
        found = self.gpu.downloaded(labels.address, shape, dtype)
        np.testing.assert_array_equal(self.gpu.downloaded(plain.address, shape, dtype), found)
        sure = self.gpu.downloaded(confidence.address, shape, np.uint8)
        return found, sure, int(self.gpu.downloaded(flag.address, (1,), np.int32)[0])

    def padded(self, array: Array, pitch: int, gap: int = 0) -> DeviceView:
        """Frames (N, H, W, 3) or planes (H, W) or (H, W, 2) on the device, rows `pitch` bytes apart."""
        outer = array.shape[: 2 if array.ndim == 4 else 1]
        rows = array.reshape(*outer, -1)  # of bytes
        canvas = np.full((*outer[:-1], outer[-1] + gap, pitch), 255, np.uint8)
        canvas[..., : outer[-1], : rows.shape[-1]] = rows
        memory = self.gpu.uploaded(canvas)
        packed = packed_view(0, array.shape, np.uint8, None).strides
        strides = (*canvas.strides[:-1], *packed[len(outer) :])
        return DeviceView(memory.address, array.shape, strides, np.dtype(np.uint8), memory)

    def pixels(self, work: Callable[[int, Stream], None], shape: tuple[int, ...]) -> Array:
        """What some work writes to an address on a stream."""
        target = Memory(self.gpu, int(np.prod(shape)))
        work(target.address, self.stream)
        self.stream.synchronize()
        return self.gpu.downloaded(target.address, shape, np.uint8)


@pytest.fixture
def simulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCuda]:
    """When a test is over and has let go of what it made, nothing may be left on the device."""
    with simulated_cuda(monkeypatch, mode=getattr(request, "param", "lazy")) as gpu:
        yield gpu


@pytest.fixture
def device(simulated: SimulatedCuda) -> Iterator[Device]:
    yield from lent_device(simulated, numpy_kernel)


@pytest.fixture
def real(simulated: SimulatedCuda) -> Iterator[Device]:
    """With the real kernels, in Triton's interpreter."""
    pytest.importorskip("torch")
    pytest.importorskip("triton")
    yield from lent_device(simulated, interpreted_kernel)


def lent_device(simulated: SimulatedCuda, make: Maker) -> Iterator[Device]:
    gpu = Gpu(0)
    with gpu.current():
        made = Device(simulated, gpu, make)
        yield made
    vars(made).clear()  # pytest keeps it longer than the simulation


# tail, samples, frame, what the network saw, rows that share a reading
GEOMETRIES = [
    (HALF, (5, 7), (37, 141), None, 8),
    (HALF, (1, 1), (9, 13), None, 8),
    (HALF, (1, 6), (11, 29), None, 8),
    (HALF, (5, 6), (10, 12), None, 8),
    (HALF, (6, 5), (9, 8), None, 1),
    (HALF, (17, 23), (5, 8), None, 1),
    (HALF, (6, 9), (31, 67), (48, 72), 8),
    (CORNERS, (5, 7), (33, 53), None, 8),
    (CORNERS, (6, 1), (1, 1), None, 1),
    (CORNERS, (17, 23), (5, 8), None, 1),
    (CORNERS, (6, 9), (67, 31), (48, 72), 8),
    (Tail("deconv", 32, 19), (3, 4), (51, 75), None, 8),
    (Tail("deconv", 8, 31), (12, 14), (53, 29), (37, 51), 8),
    (Tail("deconv", 8, 31), (12, 14), (9, 29), (37, 51), 1),
    (FULL, (9, 131), (9, 131), None, 1),
    (PADDED, (9, 14), (5, 11), None, 1),
    (PADDED, (13, 18), (23, 33), (9, 14), 8),
    (FULL, (9, 14), (4, 5), (9, 14), 1),
    (FULL, (3, 5), (11, 17), (3, 5), 8),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("tail, samples, size, network, rows", GEOMETRIES)
def test_labels_and_confidence_of_every_geometry(
    tail: Tail, samples: tuple[int, int], size: tuple[int, int], network: Any, rows: int, dtype: Any, device: Device
) -> None:
    scores = noise((2, 5, *samples), dtype)
    labels, confidence, flag = device.labels(scores, size, tail, network)
    logits = reference.upsample(scores, *size, tail, network)
    assert_labels(labels, logits)
    assert_near(confidence, 255 * reference.softmax(logits).max(axis=1))
    assert labels.dtype == np.uint8 and flag == 0
    name = f"upsample_argmax {np.dtype(dtype).name.replace('loat', 'p')}-u8-rows{rows}"
    assert device.launched == [name, f"{name}-confidence"]


@pytest.mark.parametrize(
    "tail, samples, size, network, dtype",
    [
        (HALF, (3, 4), (17, 67), None, np.float32),
        (CORNERS, (3, 4), (17, 21), (24, 32), np.float16),
        (Tail("deconv", 8, 31), (9, 10), (19, 23), None, np.float32),
        (PADDED, (9, 10), (5, 6), None, np.float16),
        (PADDED, (7, 8), (11, 13), (4, 5), np.float32),
    ],
)
def test_the_real_kernels_labels(
    tail: Tail, samples: tuple[int, int], size: tuple[int, int], network: Any, dtype: Any, real: Device
) -> None:
    scores = noise((2, 3, *samples), dtype)
    labels, confidence, flag = real.labels(scores, size, tail, network)
    logits = reference.upsample(scores, *size, tail, network)
    assert_labels(labels, logits)
    assert_near(confidence, 255 * reference.softmax(logits).max(axis=1))
    assert flag == 0


@pytest.mark.parametrize("classes, label_type", [(1, "u8"), (2, "u8"), (256, "u8"), (257, "u16"), (300, "u16")])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_labels_are_as_wide_as_the_classes_need(classes: int, label_type: str, dtype: Any, device: Device) -> None:
    scores = noise((1, classes, 3, 4), dtype)
    scores[:, -1, :2] += 20  # the last class wins somewhere: its index must fit
    labels, _, _ = device.labels(scores, (17, 25), HALF)
    assert_labels(labels, reference.upsample(scores, 17, 25, HALF))
    assert labels.max() == classes - 1 and f"-{label_type}-" in device.launched[0]


def test_the_real_kernels_wide_labels(real: Device) -> None:
    scores = noise((1, 257, 1, 2))
    scores[:, -1, :, 0] += 20
    labels, _, _ = real.labels(scores, (3, 5), HALF)
    assert labels.dtype == np.uint16 and labels.max() == 256
    assert_labels(labels, reference.upsample(scores, 3, 5, HALF))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(15, 23), (4, 6)])
def test_scores_that_are_not_finite_are_flagged(bad: float, size: tuple[int, int], device: Device) -> None:
    scores = noise((2, 3, 4, 6))
    scores[1, 2, 3, 5] = bad
    upsample = DeviceUpsampler(device.kernels, HALF, scores.shape, Precision.FP32, size, size)
    source, flag = device.gpu.uploaded(scores), device.gpu.uploaded(np.zeros(1, np.int32))
    labels = Memory(device.gpu, 2 * size[0] * size[1])
    upsample(source.address, labels.address, None, flag.address, device.stream)
    device.stream.synchronize()
    assert device.gpu.downloaded(flag.address, (1,), np.int32) == 1


@pytest.mark.parametrize("simulated", MODES, indirect=True)
def test_tables_outlive_the_work_that_reads_them(device: Device) -> None:
    scores, logits = noise((1, 3, 3, 4)), reference.upsample(noise((1, 3, 3, 4)), 17, 25, HALF)
    source, flag = device.gpu.uploaded(scores), device.gpu.uploaded(np.zeros(1, np.int32))
    target = Memory(device.gpu, 17 * 25)
    upsample = DeviceUpsampler(device.kernels, HALF, scores.shape, Precision.FP32, (17, 25), (17, 25))
    upsample(source.address, target.address, None, flag.address, device.stream)
    del upsample
    device.kernels = Kernels(device.gpu, [])
    device.stream.synchronize()
    assert_labels(device.gpu.downloaded(target.address, (1, 17, 25), np.uint8), logits)


RESIZES = [
    ((9, 14), (5, 6), True, False),
    ((9, 14), (13, 301), True, True),
    ((31, 7), (4, 20), False, False),
    ((1, 1), (3, 2), True, True),
    ((6, 5), (1, 1), False, True),
    ((23, 300), (7, 11), True, False),
]


def resized(device: Device, frames: Array, size: tuple[int, int], antialias: bool, swap: bool, pad: int) -> Array:
    view = device.padded(frames, 3 * frames.shape[2] + pad, gap=pad)
    resize = DeviceResizer(device.kernels, frames.shape[1:3], size, antialias, swap)
    return device.pixels(lambda target, stream: resize(view, target, stream), (len(frames), *size, 3))


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize("source, target, antialias, swap", RESIZES)
def test_resized_frames(
    source: tuple[int, int], target: tuple[int, int], antialias: bool, swap: bool, pad: int, device: Device
) -> None:
    frames = bytes_of(2, *source, 3)
    expected = reference.resize(frames[..., ::-1] if swap else frames, target, antialias)
    assert_near(resized(device, frames, target, antialias, swap, pad), expected)
    assert device.launched == ["resize u8"]


@pytest.mark.parametrize("antialias, swap", [(True, False), (False, True)])
def test_the_real_kernel_resizes(antialias: bool, swap: bool, real: Device) -> None:
    frames = bytes_of(2, 7, 11, 3)
    expected = reference.resize(frames[..., ::-1] if swap else frames, (5, 13), antialias)
    assert_near(resized(real, frames, (5, 13), antialias, swap, 4), expected)


@pytest.mark.parametrize("antialias", [True, False])
def test_resizing_to_the_same_size_is_an_exact_copy(antialias: bool, device: Device) -> None:
    frames = bytes_of(2, 9, 13, 3)
    np.testing.assert_array_equal(resized(device, frames, (9, 13), antialias, False, 7), frames)
    np.testing.assert_array_equal(resized(device, frames, (9, 13), antialias, True, 0), frames[..., ::-1])


def converted(device: Device, luma: Array, chroma: Array, frame: dict[str, Any], swap: bool, pad: int) -> Array:
    planes = device.padded(luma, luma.shape[1] + pad), device.padded(chroma, chroma[0].nbytes + 2 * pad)
    frames = DeviceFrames(planes, False, Nv12Frame(*planes, **frame))
    convert = DeviceNv12Converter(device.kernels, swap)
    return device.pixels(lambda target, stream: convert(frames, target, stream), (*luma.shape, 3))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("pad, swap", [(0, False), (11, True)])
@pytest.mark.parametrize("matrix, full_range", [("bt601", True), ("bt601", False), ("bt709", True), ("bt709", False)])
@pytest.mark.parametrize("height, width", [(6, 8), (5, 7), (1, 1), (3, 259)])
def test_nv12_pixels(
    height: int, width: int, matrix: str, full_range: bool, pad: int, swap: bool, flat: bool, device: Device
) -> None:
    luma, chroma = bytes_of(height, width), bytes_of(-(-height // 2), -(-width // 2), 2, seed=1)
    expected = reference.nv12_to_rgb(luma, chroma, matrix, full_range)
    given = chroma.reshape(len(chroma), -1) if flat else chroma
    frame = {"matrix": matrix, "full_range": full_range}
    assert_near(converted(device, luma, given, frame, swap, pad), expected[..., ::-1] if swap else expected)


@pytest.mark.parametrize("swap", [True, False])
def test_the_real_kernel_reads_nv12(swap: bool, real: Device) -> None:
    luma, chroma = bytes_of(5, 7), bytes_of(3, 4, 2, seed=1)
    expected = reference.nv12_to_rgb(luma, chroma, "bt709", False)
    assert_near(converted(real, luma, chroma, {}, swap, 3), expected[..., ::-1] if swap else expected)


def records_for(simulated: SimulatedCuda, sms: list[int], ran: list[int]) -> list[dict[str, Any]]:
    """One kernel for several generations, that notes for which one it was compiled; in no order."""
    records = []
    for sm in sms:
        cubin = f"for sm_{sm}".encode()
        simulated.kernels.register(cubin, "entry", lambda grid, number, sm=sm: ran.append(sm), ("i32",), threads=32)
        record = {"name": "k", "variant": "v", "sm": sm, "entry": "entry", "warps": 1, "shared_bytes": 0}
        records.append({**record, "tile": [1, 64], "parameters": ["i32"], "cubin": base64.b64encode(cubin).decode()})
    random.Random(0).shuffle(records)
    return records


@pytest.mark.parametrize(
    "sm, chosen",
    [(75, 75), (80, 80), (86, 86), (87, None), (89, 86), (90, 90), (100, 100), (120, 120), (70, None), (103, None),
     (110, None), (121, None)],
)  # fmt: skip
def test_the_kernel_for_the_nearest_generation_is_chosen(
    sm: int, chosen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the 8th, later models run the code of earlier ones; from Hopper on it is compiled for one alone."""
    ran: list[int] = []
    with simulated_cuda(monkeypatch, sm=sm) as simulated:
        gpu = Gpu(0)
        with gpu.current():
            kernels = Kernels(gpu, records_for(simulated, [75, 80, 86, 90, 100, 120], ran))
            assert ("k" in kernels) == (chosen is not None) and "other" not in kernels
            if chosen:
                kernels.load("k", "v").kernel.launch(Stream(gpu), (1, 1, 1), 7)
                gpu.synchronize()
        del kernels, gpu
    assert ran == ([chosen] if chosen else [])


@pytest.mark.parametrize("name, variant", [("k", "w"), ("other", "v")])
def test_a_kernel_that_is_not_there_is_named(name: str, variant: str, simulated: SimulatedCuda) -> None:
    gpu = Gpu(0)
    text = rf"no kernel {name} {variant} for compute capability 8\.9; build the engine again .* with --tail graph$"
    with gpu.current(), pytest.raises(fcnrt.BackendError, match=text):
        Kernels(gpu, records_for(simulated, [80, 89], [])).load(name, variant)


def test_kernels_of_other_generations_are_as_good_as_none(simulated: SimulatedCuda) -> None:
    gpu = Gpu(0)
    with gpu.current():
        kernels = Kernels(gpu, kernel_records(simulated, sm=90))
        assert "upsample_argmax" not in kernels and "resize" not in kernels
        with pytest.raises(fcnrt.BackendError, match=r"no kernel resize u8 for compute capability 8\.9"):
            DeviceResizer(kernels, (4, 5), (3, 3), True, False)


def test_a_kernel_is_loaded_once_and_only_when_it_is_needed(device: Device) -> None:
    device.simulated.counters.clear()
    for _ in range(3):
        DeviceResizer(device.kernels, (4, 5), (3, 3), True, False)
    assert device.simulated.counters["cuModuleLoadData"] == 1


def test_machine_code_that_the_driver_refuses(simulated: SimulatedCuda) -> None:
    gpu = Gpu(0)
    record = records_for(simulated, [89], [])[0]
    with gpu.current():
        spoilt = {**record, "cubin": base64.b64encode(b"no cubin").decode()}
        with pytest.raises(fcnrt.BackendError, match="cuModuleLoadData failed with INVALID_IMAGE"):
            Kernels(gpu, [spoilt]).load("k", "v")
        with pytest.raises(fcnrt.BackendError, match="cuModuleGetFunction failed with NOT_FOUND"):
            Kernels(gpu, [{**record, "entry": "another"}]).load("k", "v")


RECORD = {"name": "resize", "variant": "u8", "sm": 89, "entry": "resize", "warps": 4, "shared_bytes": 0,
          "tile": [1, 256], "parameters": ["*u8", "i32"], "cubin": "AAAA"}  # fmt: skip


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kernels, "PACKS", tmp_path)
    for sm in (75, 80, 86, 90):
        (tmp_path / f"sm_{sm}.json").write_text(json.dumps([{**RECORD, "sm": sm}]))
    return tmp_path


@pytest.mark.parametrize("sm, found", [(75, [75]), (86, [80, 86]), (89, [80, 86]), (90, [90]), (120, []), (60, [])])
def test_installed_packs_for_a_gpu(sm: int, found: list[int], packs: Path) -> None:
    assert [record["sm"] for record in installed_kernels(sm)] == found


def test_no_packs_are_no_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernels, "PACKS", tmp_path / "absent")
    assert list(installed_kernels(89)) == []


@pytest.mark.parametrize("content", ["", "[{", "{}", "[3]", '[{"name": "resize"}]', "[" * 100_000, "\x00"])
def test_a_damaged_pack_is_one_line(content: str, packs: Path) -> None:
    (packs / "sm_86.json").write_text(content)
    with pytest.raises(fcnrt.BackendError, match=r"sm_86\.json: damaged \(.+\); make it again with `make kernels`$"):
        installed_kernels(86)
    assert len(installed_kernels(75)) == 1  # of what is not needed, nothing is read
