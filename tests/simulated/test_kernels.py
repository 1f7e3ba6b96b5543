"""Simulated kernels: the numpy ones compute what Triton's interpreter computes with the real ones, within their memory.

Also the device arrays and streams of other libraries.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from cuda.core.utils import StridedMemoryView

from fcnrt.contract.precision import Precision
from fcnrt.contract.tail import Tail
from fcnrt.gpu import arrays, cuda
from fcnrt.gpu.kernels import DeviceResizer, DeviceUpsampler, Kernels
from fcnrt.gpu.proofs import prove_nv12, prove_resizing, prove_upsampling
from fcnrt.ops import reference, sampling
from simulated import MODES, simulations
from simulated.foreign import CupyLike, DeviceArray, ForeignStream, PyavLike, PycudaLike, TorchLike
from simulated.kernel_functions import kernel_records, numpy_kernel, run_records
from simulated.memory import POISON
from simulated.triton_kernels import interpreted_kernel

MAKERS = [numpy_kernel, interpreted_kernel]
LIBRARIES = [TorchLike, CupyLike, PycudaLike, PyavLike]


@pytest.fixture
def simulate(request, monkeypatch):
    with simulations(request, monkeypatch) as simulate:
        yield simulate


class Device:
    """A GPU with kernels of one kind, and a stream."""

    def __init__(self, machine, make=numpy_kernel):
        self.machine, self.gpu = machine, cuda.Gpu()
        self.kernels = Kernels(self.gpu, kernel_records(machine, make=make))
        with self.gpu.current():
            self.stream = cuda.Stream(self.gpu)

    def run(self, name, variant, grid, *arguments):
        """Launch a kernel and wait; arrays become device memory, and what is in it afterwards comes back."""
        uploaded = [self.gpu.uploaded(each) if isinstance(each, np.ndarray) else None for each in arguments]
        values = [memory.address if memory else each for memory, each in zip(uploaded, arguments, strict=True)]
        self.kernels.load(name, variant).kernel.launch(self.stream, grid, *values)
        self.stream.synchronize()
        pairs = zip(uploaded, arguments, strict=True)
        return [self.gpu.downloaded(memory.address, each.shape, each.dtype) for memory, each in pairs if memory]


@pytest.fixture
def device(simulate):
    device = Device(simulate())
    with device.gpu.current():
        yield device


def by_dlpack(array, stream=1):
    """What NVIDIA's own reader makes of an array's DLPack capsule."""
    return StridedMemoryView.from_dlpack(array, stream)


def noise(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape, scale=4.0).astype(dtype)


def upsampling(scores, size, tail=Tail("half_pixel"), rows=8, labels=np.uint8):  # noqa: B008
    """Grid and arguments of upsample_argmax."""
    batch, classes, *samples = scores.shape
    axes = [
        sampling.linear_samples(reference.source_coordinates(tail, count, pixels), count)
        for count, pixels in zip(samples, size, strict=True)
    ]
    starts = sampling.bands(axes[0][0], rows)
    made = [np.zeros((batch, *size), labels), np.zeros((batch, *size), np.uint8)]
    tables = [*axes[0], *axes[1], starts, np.zeros(1, np.int32)]
    cols = 64 if rows == 8 else 128
    return (-(-size[1] // cols), len(starts) - 1, batch), [scores, *made, *tables, classes, *samples, *size]


@pytest.mark.parametrize("confidence", ["", "-confidence"])
@pytest.mark.parametrize("rows", [8, 1])
@pytest.mark.parametrize("scores, labels", [("fp32", "u8"), ("fp16", "u8"), ("fp32", "u16"), ("fp16", "u16")])
def test_numpy_and_the_interpreter_label_alike(simulate, scores, labels, rows, confidence):
    values = noise((2, 3, 4, 5), {"fp32": np.float32, "fp16": np.float16}[scores])
    grid, arguments = upsampling(values, (13, 71), rows=rows, labels={"u8": np.uint8, "u16": np.uint16}[labels])
    found = []
    for make in MAKERS:
        device = Device(simulate(), make)
        with device.gpu.current():
            found.append(device.run("upsample_argmax", f"{scores}-{labels}-rows{rows}{confidence}", grid, *arguments))
    for ours, real in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, real)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numpy_and_the_interpreter_see_scores_that_are_not_finite(simulate, bad):
    values = noise((1, 3, 4, 5))
    values[0, 1, 2, 3] = bad
    grid, arguments = upsampling(values, (13, 21))
    flags = []
    for make in MAKERS:
        device = Device(simulate(), make)
        with device.gpu.current():
            flags.append(device.run("upsample_argmax", "fp32-u8-rows8", grid, *arguments)[-1].tolist())
    assert flags == [[1], [1]]


@pytest.mark.parametrize("antialias, size", [(True, (5, 6)), (False, (13, 17))])
def test_numpy_and_the_interpreter_resize_alike(simulate, antialias, size):
    frames = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), np.uint8)
    taps = [sampling.resize_taps(*sides, antialias) for sides in zip((9, 14), size, strict=True)]
    tables, counts = [table for axis in taps for table in axis], [weights.shape[1] for _, weights in taps]
    found = []
    for make in MAKERS:
        device, target = Device(simulate(), make), np.zeros((2, *size, 3), np.uint8)
        with device.gpu.current():
            arguments = frames, target, *tables, *counts, 9, 14, 14 * 3, 9 * 14 * 3, *size, 1
            found.append(device.run("resize", "u8", (1, size[0], 2), *arguments)[1])
    # Sums at the edge between two bytes: the interpreter rounds products, numpy_kernel and a GPU do not.
    assert np.abs(np.subtract(*found, dtype=np.int64)).max() <= 1 and np.mean(found[0] != found[1]) < 0.002


@pytest.mark.parametrize("make", MAKERS)
def test_both_kinds_pass_the_runtimes_own_proofs(simulate, make):
    device = Device(simulate("random"), make)
    with device.gpu.current():
        prove_upsampling(device.kernels, device.stream, 3, Precision.FP16)
        prove_resizing(device.kernels, device.stream)
        prove_nv12(device.kernels, device.stream)


def test_records_that_were_really_compiled_are_run(simulate):
    machine = simulate()
    records = [{**record, "cubin": "AAAA"} for record in kernel_records(machine) if record["name"] == "nv12_to_rgb"]
    run_records(machine, records)
    gpu = cuda.Gpu()
    with gpu.current():
        prove_nv12(Kernels(gpu, records), cuda.Stream(gpu))


WRONG = {
    "labels too short": (1, lambda value: value[:, :-1], "upsample_argmax: 2"),
    "scores too short": (0, lambda value: value[..., :-1], "upsample_argmax: 240 bytes"),
    "band of other rows": (7, lambda value: np.array([0, *value[2:]], np.int32), "bands"),
    "height of another frame": (12, lambda value: value - 1, "bands"),
    "width of another frame": (13, lambda value: value + 64, "programs of 64 columns"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arguments_are_caught(device, what):
    _, arguments = upsampling(noise((1, 3, 4, 5)), (13, 21))
    position, change, text = WRONG[what]
    arguments[position] = change(arguments[position])
    with device.machine.expecting(text):
        device.run("upsample_argmax", "fp32-u8-rows8", (1, len(arguments[7]) - 1, 1), *arguments)


def test_a_real_kernel_that_leaves_its_arrays_is_caught(simulate):
    device = Device(simulate(), interpreted_kernel)
    grid, arguments = upsampling(noise((1, 3, 4, 5)), (13, 21))
    arguments[5] = np.full_like(arguments[5], 4 * 5 * 3)  # columns far to the right
    with device.gpu.current(), device.machine.expecting("create_masked_load outside of its arrays"):
        device.run("upsample_argmax", "fp32-u8-rows8", grid, *arguments)


def test_upsampling_wrong_scores_would_show(device):
    values = noise((2, 5, 6, 7))
    upsample = DeviceUpsampler(device.kernels, Tail("align_corners"), values.shape, Precision.FP32, (33, 47), (33, 47))
    scores, labels = device.gpu.uploaded(values), cuda.Memory(device.gpu, 2 * 33 * 47)
    flag = device.gpu.uploaded(np.zeros(1, np.int32))
    upsample(scores.address, labels.address, None, flag.address, device.stream)
    device.stream.synchronize()
    expected = reference.argmax(reference.upsample(values, 33, 47, Tail("align_corners")))
    found = device.gpu.downloaded(labels.address, (2, 33, 47), np.uint8)
    assert (found == expected).mean() > 0.999


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("mode", MODES)
def test_foreign_arrays_are_read_in_the_order_of_their_stream(simulate, library, mode):
    device = Device(simulate(mode))
    stream, frames = ForeignStream(device.machine), np.arange(2 * 5 * 7 * 3, dtype=np.uint8).reshape(2, 5, 7, 3)
    with device.gpu.current():
        array = library(device.machine, np.zeros_like(frames))
        array.fill(frames, stream.value)
        view = arrays.device_frames(array, stream.value).planes[0]
        assert (view.address, view.shape, view.dtype) == (array.address, array.shape, np.uint8)
        target, caller = cuda.Memory(device.gpu, frames.size), cuda.Stream(device.gpu, stream.value)
        written, read = cuda.Event(device.gpu), cuda.Event(device.gpu)
        written.record(caller)
        device.stream.wait(written)
        DeviceResizer(device.kernels, (5, 7), (5, 7), True, False)(view, target.address, device.stream)
        read.record(device.stream)
        caller.wait(read)
        array.fill(frames * 0, stream.value)  # the caller uses its memory again at once
        found = device.machine.read(target.address, frames.shape, np.uint8, after=stream.value)
        np.testing.assert_array_equal(found, frames)
        assert not array.read(stream.value).any()
        del view


@pytest.mark.parametrize("ordered", ["before", "after"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_foreign_arrays_race_with_whoever_ignores_their_stream(device, library, ordered):
    stream, frames = ForeignStream(device.machine), np.ones((1, 5, 7, 3), np.uint8)
    array, target = library(device.machine, frames), cuda.Memory(device.gpu, frames.size)
    resize = DeviceResizer(device.kernels, (5, 7), (5, 7), True, False)
    view = arrays.device_frames(array, stream.value).planes[0]
    with device.machine.expecting("race"):
        if ordered == "before":
            resize(view, target.address, device.stream)
        array.fill(frames, stream.value)
        if ordered == "after":
            resize(view, target.address, device.stream)
        device.gpu.synchronize()
    del view


def test_foreign_arrays_keep_strides_of_any_sign(device):
    frames = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)
    for content in (frames[:, 1:, 2:], frames[::-1], frames[:, :, :, ::-1]):
        array = TorchLike(device.machine, content)
        np.testing.assert_array_equal(array.read(0), content)
        assert array.__cuda_array_interface__["strides"] == content.strides
        assert by_dlpack(array).strides == content.strides  # of bytes, in elements
    assert TorchLike(device.machine, frames).__cuda_array_interface__["strides"] is None


def test_dlpack_names_the_consumers_stream_and_is_released(device):
    array = PyavLike(device.machine, np.zeros((3, 4, 3), np.uint8))
    view = by_dlpack(array, 0x77)
    assert array.requested == [0x77] and view.shape == (3, 4, 3) and view.ptr == array.address
    del view
    assert array.deleted == 1


def test_dlpack_of_host_memory_is_no_device_array(device):
    array = PyavLike(device.machine, np.zeros((3, 4, 3), np.uint8), device_type=1)
    assert not arrays.is_device_array(array) and arrays.is_device_array(PyavLike(device.machine, np.ones(3)))


def test_other_types_are_shown_as_such(device):
    for dtype in (np.float32, np.float16, np.uint16, np.int64):
        array = TorchLike(device.machine, np.zeros((2, 3), dtype))
        shown = by_dlpack(array).dtype, np.dtype(array.__cuda_array_interface__["typestr"])
        assert shown == (np.dtype(dtype), np.dtype(dtype))


def test_the_callers_memory_is_not_the_runtimes_to_free(device):
    array = DeviceArray(device.machine, np.zeros(7, np.uint8))
    assert device.machine.memory.at(array.address).owner == "test"
    array.free()
    with device.machine.expecting("do not lie in one live allocation"):
        device.machine.read(array.address, (7,), np.uint8)


def test_streams_show_their_handles_as_their_libraries_do(device):
    for name in ("cuda_stream", "ptr", "handle"):
        stream = ForeignStream(device.machine, name)
        assert cuda.stream_handle(stream) == stream.value
    assert cuda.stream_handle(SimpleNamespace(ptr=5)) == 5


def test_uninitialised_memory_is_seen(device):
    memory = cuda.Memory(device.gpu, 8)
    assert device.machine.read(memory.address, (8,), np.uint8).tolist() == [POISON] * 8
    assert ctypes.c_float.from_buffer_copy(bytes([POISON] * 4)).value < 0
