"""Device arrays of other libraries read in place, ours handed out, and one line for what does not fit.

What DLPack's consumers get of our arrays is made by cuda.core, which asks the driver about the pointer: only a GPU host
can try that. Here, who waits for whom before they get it.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fcnrt
from fcnrt.contract.types import Array
from fcnrt.gpu import arrays
from fcnrt.gpu.arrays import (
    DeviceArray,
    DeviceView,
    Nv12Frame,
    device_frames,
    device_target,
    device_view,
    is_device_array,
    packed_view,
)
from fcnrt.gpu.cuda import Gpu, Stream
from packages import host_tensors
from simulated import SimulatedCuda, foreign, simulated_cuda
from simulated.foreign import CUDA, CUDA_HOST, CUDA_MANAGED, CupyLike, ForeignStream, PyavLike, PycudaLike, TorchLike
from simulated.streams import Work

KINDS = [TorchLike, CupyLike, PycudaLike, PyavLike]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
CPU = 1  # DLDeviceType


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCuda]:
    with simulated_cuda(monkeypatch) as gpu:
        yield gpu


def bytes_of(*shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


class Described:
    """An object that describes itself by the CUDA Array Interface; None leaves an entry out."""

    def __init__(self, **entries: Any):
        facts = {"shape": (5, 7, 3), "typestr": "|u1", "data": (4096, False), "strides": None, "version": 3, **entries}
        self.__cuda_array_interface__ = {key: value for key, value in facts.items() if value is not ...}


@every_kind
def test_frames_of_every_library_are_read_in_place(kind: Any, simulated: SimulatedCuda) -> None:
    for shape in [(5, 7, 3), (2, 5, 7, 3), (1, 1, 3), (1, 5, 7, 3), (4, 1, 3)]:
        array = kind(simulated, bytes_of(*shape))
        frames = device_frames(array, consumer=0)
        (view,) = frames.planes
        batch = shape if len(shape) == 4 else (1, *shape)
        assert (view.address, view.shape) == (array.address, batch)
        assert view.strides == packed_view(0, batch, np.uint8, None).strides  # then the network reads it as it is
        assert frames.shape == batch[:3] and frames.batched == (len(shape) == 4) and frames.source is None
        assert frames.labels_shape == shape[:-1]


@every_kind
def test_rows_and_frames_may_be_padded(kind: Any, simulated: SimulatedCuda) -> None:
    array = kind(simulated, bytes_of(4, 9, 11, 3)[::2, 1:6, 2:9])
    view = device_frames(array, 0).planes[0]
    assert (view.shape, view.strides, view.address) == ((2, 5, 7, 3), (2 * 9 * 33, 33, 3, 1), array.address)
    single = device_frames(kind(simulated, bytes_of(9, 11, 3)[1:6, 2:9]), 0).planes[0]
    assert (single.shape, single.strides[1:]) == ((1, 5, 7, 3), (33, 3, 1))


@pytest.mark.parametrize(
    "shape, strides",
    [
        ((1, 5, 7, 3), (0, 21, 3, 1)),  # numpy's way with a new axis
        ((1, 5, 7, 3), (1, 21, 3, 1)),  # torch's, in DLPack
        ((5, 1, 3), (3, 99, 1)),
        ((1, 7, 3), (1, 3, 1)),
        ((2, 1, 7, 3), (21, -4, 3, 1)),
        ((1, 1, 3), (0, 0, 1)),
    ],
)
def test_strides_of_single_elements_do_not_count(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    view = device_frames(Described(shape=shape, strides=strides), 0).planes[0]
    assert view.strides == packed_view(0, view.shape, np.uint8, None).strides


def test_pitch_of_a_single_row_is_no_pitch(simulated: SimulatedCuda) -> None:
    view = device_frames(CupyLike(simulated, bytes_of(2, 11, 3)[:1, :7]), 0).planes[0]
    assert view.strides == (21, 21, 3, 1)


@pytest.mark.parametrize(
    "array, text",
    [
        (bytes_of(5, 7), "expected shape (H, W, 3) or (N, H, W, 3), got (5, 7)"),
        (bytes_of(3, 5, 7), "expected shape (H, W, 3) or (N, H, W, 3), got (3, 5, 7)"),
        (bytes_of(5, 7, 4), "got (5, 7, 4)"),
        (bytes_of(1, 2, 5, 7, 3), "got (1, 2, 5, 7, 3)"),
        (np.zeros((5, 7, 3), np.float32), "expected a uint8 device array, got float32"),
        (np.zeros((5, 7, 3), np.int8), "expected a uint8 device array, got int8"),
        (bytes_of(5, 14, 3)[:, ::2], "expected rows of packed pixels, got strides (42, 6, 1); make them contiguous"),
        (bytes_of(5, 7, 3)[..., ::-1], "expected rows of packed pixels, got strides (21, 3, -1)"),
        (bytes_of(5, 7, 3)[::-1], "expected rows of packed pixels, got strides (-21, 3, 1)"),
        (bytes_of(7, 5, 3).transpose(1, 0, 2), "expected rows of packed pixels, got strides (3, 15, 1)"),
        (np.broadcast_to(bytes_of(1, 7, 3), (5, 7, 3)), "expected rows of packed pixels, got strides (0, 3, 1)"),
        (bytes_of(2, 3, 5, 7).transpose(0, 2, 3, 1), "expected rows of packed pixels, got strides (105, 7, 1, 35)"),
    ],
)
@every_kind
def test_frames_that_do_not_fit(kind: Any, array: Array, text: str, simulated: SimulatedCuda) -> None:
    with pytest.raises(fcnrt.FrameError, match=f"^frames: .*{re.escape(text)}"):
        device_frames(kind(simulated, array), 0)


@pytest.mark.parametrize("shape", [(0, 7, 3), (5, 0, 3), (0, 5, 7, 3)])
def test_empty_frames(shape: tuple[int, ...]) -> None:
    with pytest.raises(fcnrt.FrameError, match=re.escape(f"expected shape (H, W, 3) or (N, H, W, 3), got {shape}")):
        device_frames(Described(shape=shape, data=(0, False)), 0)


@pytest.mark.parametrize(
    "entries",
    [
        {"typestr": "zz"},
        {"typestr": ...},
        {"shape": None},
        {"shape": (5.0, 7, 3)},
        {"shape": (5, -7, 3)},
        {"shape": ...},
        {"data": None},
        {"data": (None, False)},
        {"data": ...},
        {"strides": (1,)},
        {"strides": "abc"},
        {"strides": (21.0, 3, 1)},
        {"stream": "default"},
        {"mask": object()},
    ],
    ids=str,
)
def test_descriptions_that_nobody_understands(entries: dict[str, Any]) -> None:
    with pytest.raises(fcnrt.FrameError, match=r"^frames: cannot understand .*Described's __cuda_array_interface__"):
        device_frames(Described(**entries), 0)


@pytest.mark.parametrize("code", [3, 5, 10])  # opaque handles, half complex numbers, a float8
def test_a_type_that_numpy_does_not_have(code: int, simulated: SimulatedCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(foreign._CODES, "u", code)
    with pytest.raises(fcnrt.FrameError, match=r"^out: cannot understand PyavLike's __dlpack__: .*(dtype|complex)"):
        device_target("out", PyavLike(simulated, np.zeros((5, 7), np.uint16)), (5, 7), np.uint16, 0)


@pytest.mark.parametrize("error", [BufferError, RuntimeError, TypeError, AssertionError])
def test_a_library_that_refuses_to_hand_out_its_array(error: type[Exception]) -> None:
    def refuse(stream: int) -> None:
        raise error("requires grad\nor so")

    array = SimpleNamespace(__dlpack_device__=lambda: (CUDA, 0), __dlpack__=refuse)
    with pytest.raises(
        fcnrt.FrameError, match=r"^frames: cannot understand SimpleNamespace's __dlpack__: .*grad or so$"
    ):
        device_frames(array, 0)


def test_dlpack_without_cuda_core(simulated: SimulatedCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.core.utils", None)
    with pytest.raises(
        fcnrt.MissingDependency, match=r"^DLPack arrays need cuda-core: .* -m pip install .*\[cuda\]'?$"
    ):
        device_frames(PyavLike(simulated, bytes_of(5, 7, 3)), 0)
    assert device_frames(TorchLike(simulated, bytes_of(5, 7, 3)), 0)


@pytest.mark.parametrize("stream, producer", [(..., None), (None, None), (1, 0), (2, 2), (4711, 4711)])
def test_the_stream_that_writes_an_array(stream: Any, producer: int | None) -> None:
    assert device_view("frames", Described(stream=stream), 0).producer == producer


@pytest.mark.parametrize("consumer, named", [(0, 1), (1, 1), (2, 2), (4711, 4711)])
def test_dlpack_is_told_who_reads(consumer: int, named: int, simulated: SimulatedCuda) -> None:
    array = PyavLike(simulated, bytes_of(5, 7, 3))
    view = device_view("frames", array, consumer)
    assert array.requested == [named] and view.producer is None
    assert not array.deleted
    del view
    gc.collect()
    assert array.deleted == 1


@pytest.mark.parametrize(
    "candidate, is_one",
    [
        (np.zeros(3), False),
        *((tensor, False) for tensor in host_tensors(3)),
        (None, False),
        ([1], False),
        ("frame", False),
        (Described(), True),
    ],
)
def test_what_is_a_device_array(candidate: object, is_one: bool) -> None:
    assert is_device_array(candidate) == is_one


@pytest.mark.parametrize("device_type, is_one", [(CUDA, True), (CUDA_MANAGED, True), (CUDA_HOST, False), (CPU, False)])
def test_memory_that_dlpack_says_is_a_devices(device_type: int, is_one: bool, simulated: SimulatedCuda) -> None:
    assert is_device_array(PyavLike(simulated, bytes_of(5, 7, 3), device_type=device_type)) == is_one


HOST_ARRAYS = [np.zeros((5, 7), np.uint8), *host_tensors(5, 7), [[1, 2]], None, 7]


@pytest.mark.parametrize("array", HOST_ARRAYS, ids=lambda array: type(array).__name__)
def test_host_memory_is_never_taken_for_a_devices(array: Any, simulated: SimulatedCuda) -> None:
    """A kernel that wrote there would break the context for good."""
    text = f"expected a device array, got {type(array).__name__}"
    with pytest.raises(fcnrt.FrameError, match=f"^out: {text}"):
        device_target("out", array, (5, 7), np.uint8, 0)
    chroma = TorchLike(simulated, bytes_of(3, 4, 2))
    with pytest.raises(fcnrt.FrameError, match=f"^luma: {text}"):
        device_frames(Nv12Frame(array, chroma), 0)
    with pytest.raises(fcnrt.FrameError, match=f"^chroma: {text}"):
        device_frames(Nv12Frame(chroma, array), 0)


def test_pinned_memory_is_the_hosts(simulated: SimulatedCuda) -> None:
    array = PyavLike(simulated, bytes_of(5, 7), device_type=CUDA_HOST)
    with pytest.raises(fcnrt.FrameError, match=r"^out: expected a device array, got PyavLike"):
        device_target("out", array, (5, 7), np.uint8, 0)


@every_kind
def test_targets_of_every_library(kind: Any, simulated: SimulatedCuda) -> None:
    array = kind(simulated, bytes_of(2, 5, 7))
    view = device_target("out", array, (2, 5, 7), np.uint8, 0)
    assert (view.address, view.shape, view.strides) == (array.address, (2, 5, 7), (35, 7, 1))


@pytest.mark.parametrize(
    "array, text",
    [
        (bytes_of(5, 8), "expected a contiguous uint8 device array (5, 7), got uint8 (5, 8) with strides (8, 1)"),
        (bytes_of(1, 5, 7), "expected a contiguous uint8 device array (5, 7), got uint8 (1, 5, 7)"),
        (np.zeros((5, 7), np.uint16), "got uint16 (5, 7) with strides (14, 2)"),
        (np.zeros((5, 7), np.int8), "got int8 (5, 7)"),
        (bytes_of(5, 8)[:, :7], "got uint8 (5, 7) with strides (8, 1)"),
        (bytes_of(7, 5).T, "got uint8 (5, 7) with strides (1, 5)"),
        (bytes_of(5, 7)[::-1], "got uint8 (5, 7) with strides (-7, 1)"),
    ],
)
@every_kind
def test_targets_that_do_not_fit(kind: Any, array: Array, text: str, simulated: SimulatedCuda) -> None:
    with pytest.raises(fcnrt.FrameError, match=f"^confidence: .*{re.escape(text)}"):
        device_target("confidence", kind(simulated, array), (5, 7), np.uint8, 0)


def test_wide_targets(simulated: SimulatedCuda) -> None:
    assert device_target("out", CupyLike(simulated, np.zeros((5, 7), np.uint16)), (5, 7), np.uint16, 0)
    with pytest.raises(fcnrt.FrameError, match=r"expected a contiguous uint16 .* got >u2"):
        device_target("out", Described(shape=(5, 7), typestr=">u2"), (5, 7), np.uint16, 0)


def test_targets_that_are_read_only() -> None:
    array = Described(shape=(5, 7), data=(4096, True))
    with pytest.raises(fcnrt.FrameError, match=r"^out: .*uint8 device array \(5, 7\), got a read-only one"):
        device_target("out", array, (5, 7), np.uint8, 0)
    assert device_frames(Described(data=(4096, True)), 0).planes[0].address == 4096  # to be read it is good enough


@every_kind
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("height, width", [(6, 8), (5, 7), (1, 1), (2, 1), (1, 9)])
def test_nv12_of_every_library(height: int, width: int, flat: bool, kind: Any, simulated: SimulatedCuda) -> None:
    half = -(-height // 2), -(-width // 2)
    luma, chroma = bytes_of(height, width + 6)[:, :width], bytes_of(half[0], half[1] + 3, 2)[:, : half[1]]
    if flat:
        chroma = bytes_of(half[0], 2 * half[1] + 6)[:, : 2 * half[1]]
    given = Nv12Frame(kind(simulated, luma), kind(simulated, chroma))
    frames = device_frames(given, 0)
    assert [plane.address for plane in frames.planes] == [given.luma.address, given.chroma.address]
    assert frames.shape == (1, height, width) and frames.labels_shape == (height, width)
    assert frames.source is given and not frames.batched


def test_nv12_with_padded_rows_keeps_their_pitch(simulated: SimulatedCuda) -> None:
    luma, chroma = bytes_of(5, 64)[:, :7], bytes_of(3, 32, 2)[:, :4]
    planes = device_frames(Nv12Frame(PyavLike(simulated, luma), PyavLike(simulated, chroma)), 0).planes
    assert [plane.strides for plane in planes] == [(64, 1), (64, 2, 1)]


@pytest.mark.parametrize(
    "luma, chroma, text",
    [
        (bytes_of(5, 7, 1), bytes_of(3, 4, 2), "luma: expected (H, W) with packed rows, got (5, 7, 1)"),
        (bytes_of(5, 14)[:, ::2], bytes_of(3, 4, 2), "luma: expected (H, W) with packed rows, got (5, 7) with strides"),
        (np.zeros((5, 7), np.uint16), bytes_of(3, 4, 2), "luma: expected a uint8 device array, got uint16"),
        (bytes_of(5, 7), np.zeros((3, 4, 2), np.uint16), "chroma: expected a uint8 device array, got uint16"),
        (bytes_of(5, 7), bytes_of(2, 3, 2), "chroma: expected (3, 4, 2) with packed rows for luma (5, 7), got (2, 3,"),
        (bytes_of(5, 7), bytes_of(3, 7), "chroma: expected (3, 4, 2) with packed rows for luma (5, 7), got (3, 7)"),
        (bytes_of(5, 7), bytes_of(2, 3, 4).transpose(1, 2, 0), "got (3, 4, 2) with strides (4, 1, 12)"),
        (bytes_of(5, 7), bytes_of(3, 8, 2)[:, ::2], "got (3, 4, 2) with strides (16, 4, 1)"),
        (bytes_of(5, 7), bytes_of(3, 16)[:, ::2], "got (3, 8) with strides (16, 2)"),
        (bytes_of(6, 8), bytes_of(6, 8), "chroma: expected (3, 4, 2) with packed rows for luma (6, 8), got (6, 8)"),
    ],
)
@every_kind
def test_nv12_that_does_not_fit(kind: Any, luma: Array, chroma: Array, text: str, simulated: SimulatedCuda) -> None:
    with pytest.raises(fcnrt.FrameError, match=re.escape(text)):
        device_frames(Nv12Frame(kind(simulated, luma), kind(simulated, chroma)), 0)


@pytest.mark.parametrize("matrix", ["bt2020", "", None, 709, ["bt709"]])
def test_nv12_of_an_unknown_matrix(matrix: Any, simulated: SimulatedCuda) -> None:
    planes = TorchLike(simulated, bytes_of(5, 7)), TorchLike(simulated, bytes_of(3, 4, 2))
    with pytest.raises(fcnrt.FrameError, match=re.escape(f"NV12: expected matrix 'bt601' or 'bt709', got {matrix!r}")):
        device_frames(Nv12Frame(*planes, matrix=matrix), 0)


def test_nv12_defaults_are_those_of_hd_video() -> None:
    assert (Nv12Frame(1, 2).matrix, Nv12Frame(1, 2).full_range) == ("bt709", False)


def made(gpu: Gpu, labels: Array, stream: Stream) -> DeviceArray:
    return DeviceArray(gpu, gpu.uploaded(labels), labels.shape, labels.dtype, stream)


@pytest.mark.parametrize("dtype, typestr", [(np.uint8, "|u1"), (np.uint16, "<u2")])
def test_our_arrays_describe_themselves(dtype: Any, typestr: str, simulated: SimulatedCuda) -> None:
    labels = np.arange(35, dtype=dtype).reshape(5, 7)
    gpu = Gpu(0)
    with gpu.current():
        stream = Stream(gpu)
        ours = made(gpu, labels, stream)
        assert ours.__cuda_array_interface__ == {
            "shape": (5, 7),
            "typestr": typestr,
            "data": (ours.address, False),
            "strides": None,
            "stream": stream.handle,
            "version": 3,
        }
        assert ours.__dlpack_device__() == (CUDA, 0)
        assert (ours.shape, ours.dtype) == ((5, 7), np.dtype(dtype))
        view = device_target("out", ours, (5, 7), dtype, 0)  # and so they can be given back as targets
        assert (view.address, view.producer, view.owner) == (ours.address, stream.handle, ours)
        assert is_device_array(ours)
        on_default = made(gpu, labels, Stream(gpu, 0))
        assert on_default.__cuda_array_interface__["stream"] == 1  # 0 is forbidden there


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numpy_waits_for_the_labels_and_copies_them(dtype: Any, simulated: SimulatedCuda) -> None:
    labels = np.arange(35, dtype=dtype).reshape(5, 7)
    gpu = Gpu(0)
    caller = ForeignStream(simulated)
    with gpu.current():
        ours = made(gpu, np.zeros_like(labels), Stream(gpu, caller.value))
    written_later(simulated, ours.address, labels, caller.value)
    copy = ours.numpy()  # with no context current
    np.testing.assert_array_equal(copy, labels)
    copy[:] = 0
    np.testing.assert_array_equal(ours.numpy(), labels)
    assert copy.dtype == dtype


def written_later(simulated: SimulatedCuda, address: int, content: Array, stream: int) -> None:
    """Queue a kernel that writes to an address."""

    def write() -> None:
        simulated.memory.view(address, content.shape, content.dtype, writes=True)[...] = content

    simulated.submit(simulated.stream(stream, 0), Work("labels", write, ((address, content.nbytes),)))


def read(simulated: SimulatedCuda, address: int, shape: tuple[int, ...], stream: int) -> Array:
    """What a kernel of the consumer's sees on its stream."""
    found: list[Array] = []
    work = Work("consumer", lambda: found.append(simulated.memory.view(address, shape, np.uint8).copy()))
    simulated.submit(simulated.stream(stream, 0), work)
    simulated.scheduler.wait(simulated.tail(simulated.stream(stream, 0)))
    return found[0]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is handed to cuda.core, and how; it makes no capsule without a driver."""
    calls: list[Any] = []

    def from_buffer(buffer: Any, shape: Any, dtype: Any) -> Any:
        calls.append((buffer, shape, dtype))
        return SimpleNamespace(__dlpack__=lambda **options: options)

    buffers = SimpleNamespace(from_handle=lambda address, nbytes, owner: (address, nbytes, owner))
    monkeypatch.setattr("cuda.core.Buffer", buffers)
    monkeypatch.setattr(arrays, "_strided_view", lambda: SimpleNamespace(from_buffer=from_buffer))
    return calls


@pytest.mark.parametrize("named, own", [(None, False), (1, False), (7, True)])
def test_dlpack_consumers_wait_for_the_labels(
    named: int | None, own: bool, simulated: SimulatedCuda, exported: list[Any]
) -> None:
    """No stream is the default one by the standard (data-apis.org, array.__dlpack__), and does not wait by itself."""
    labels = bytes_of(5, 7)
    gpu = Gpu(0)
    producer, consumer = ForeignStream(simulated).value, ForeignStream(simulated).value if own else 0
    with gpu.current():
        ours = made(gpu, np.zeros_like(labels), Stream(gpu, producer))
    written_later(simulated, ours.address, labels, producer)
    options = ours.__dlpack__(stream=consumer if own else named, max_version=(1, 0))
    np.testing.assert_array_equal(read(simulated, ours.address, (5, 7), consumer), labels)
    assert options == {"max_version": (1, 0)}
    assert exported == [((ours.address, 35, ours), (5, 7), np.dtype(np.uint8))]
    exported.clear()


def test_dlpack_consumers_that_order_themselves_are_left_alone(simulated: SimulatedCuda, exported: list[Any]) -> None:
    gpu = Gpu(0)
    with gpu.current():
        ours = made(gpu, bytes_of(5, 7), Stream(gpu))
    with simulated.counting() as calls:
        ours.__dlpack__(stream=-1)
    exported.clear()
    assert "cuEventRecord" not in calls and "cuStreamWaitEvent" not in calls


def test_packed_views() -> None:
    assert packed_view(4096, (2, 5, 7), np.uint16, "owner") == DeviceView(
        4096, (2, 5, 7), (70, 14, 2), np.dtype(np.uint16), "owner"
    )
