"""Device arrays through the GPU runtime, on a simulated GPU: read and written in place, in the caller's order."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.backends import cpu
from fcnrt.backends.onnxruntime_cuda import OrtCudaNetwork
from fcnrt.backends.tensorrt import TrtNetwork
from fcnrt.ops import reference
from frames import frames_of
from simulated import MODES
from simulated.foreign import CupyLike, DeviceArray, ForeignStream, PyavLike, PycudaLike, TorchLike
from simulated.host import MakeHost, labels_on_cpu

ALIKE = 0.9995
STREAM_NAMES = {TorchLike: "cuda_stream", CupyLike: "ptr", PycudaLike: "handle", PyavLike: "handle"}


def read(labels: Any, host: Any, stream: int) -> np.ndarray:
    """What a kernel of the caller's finds in labels, enqueued on its stream behind the call."""
    return host.gpu.read(labels.address, labels.shape, labels.dtype, after=stream)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", STREAM_NAMES)
def test_arrays_of_every_library_on_the_callers_stream(
    kind: type[DeviceArray], mode: str, exported: Export, make_host: MakeHost
) -> None:
    model, frames = exported("d2l fcn32s"), frames_of(5, 60, 70)
    expected = labels_on_cpu(model, frames)
    host = make_host(mode=mode)
    with host.segmenter(model) as segment:
        stream = ForeignStream(host.gpu, STREAM_NAMES[kind])
        frame = kind(host.gpu, np.zeros((60, 70, 3), np.uint8))
        for content, wanted in zip(frames, expected, strict=True):
            frame.fill(content, stream.value)  # still to be done when the Segmenter is called
            labels = segment(frame, stream=stream)
            assert isinstance(labels, fcnrt.DeviceArray) and labels.shape == (60, 70) and labels.dtype == np.uint8
            assert (read(labels, host, stream.value) == wanted).mean() >= ALIKE
            assert (labels.numpy() == wanted).mean() >= ALIKE


@pytest.mark.parametrize("engine", ["8.6.1", "10.16.1", "onnxruntime"])
def test_nothing_is_copied_and_nobody_waits(
    engine: str, exported: Export, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported("d2l fcn32s")
    host = make_host(engine)
    with host.segmenter(model) as segment:
        stream = ForeignStream(host.gpu)
        frames = TorchLike(host.gpu, frames_of(2, 60, 70))
        out = TorchLike(host.gpu, np.zeros((2, 60, 70), np.uint8))
        seen: list[int] = []
        run = TrtNetwork.scores if engine != "onnxruntime" else OrtCudaNetwork.scores

        def spy(network: Any, address: int, shape: tuple[int, int, int]) -> Any:
            seen.append(address)
            return run(network, address, shape)

        with monkeypatch.context() as patch:
            for network in (TrtNetwork, OrtCudaNetwork):
                patch.setattr(network, "scores", spy)
            for _ in range(4):
                assert segment(frames, out=out, stream=stream) is out

        with host.gpu.counting() as done:
            segment(frames, out=out, stream=stream)
        assert seen == [frames.address] * 4, "the network reads the caller's own memory"
        assert done["waits"] == done["implicit waits"] == done["allocations"] == 0
        assert not any(done[name] for name in ("HtoD", "DtoH", "DtoD", "cuMemcpyHtoD", "cuMemcpyDtoH"))
        (expected,) = labels_on_cpu(model, [frames_of(2, 60, 70)])
        assert (out.read(stream.value) == expected).mean() >= ALIKE


def test_a_decoders_ring_of_frames_is_replayed(exported: Export, make_host: MakeHost) -> None:
    host, ring = make_host(mode="random"), frames_of(12, 60, 70)
    with host.segmenter(exported("d2l fcn32s")) as segment:
        frames, stream = [TorchLike(host.gpu, content) for content in ring], ForeignStream(host.gpu)
        for _ in range(2):
            for frame in frames:
                segment(frame, stream=stream)
        with host.gpu.counting() as done:
            for frame in frames:
                segment(frame, stream=stream)
        assert done["graph launches"] == 12 and done["waits"] == 0


def test_frames_that_are_always_elsewhere_cost_no_wait(exported: Export, make_host: MakeHost) -> None:
    host, content = make_host(), frames_of(1, 60, 70)[0]
    with host.segmenter(exported("d2l fcn32s")) as segment:
        stream = ForeignStream(host.gpu)
        frames = [TorchLike(host.gpu, content) for _ in range(100)]
        segment(frames[0], stream=stream)
        with host.gpu.counting() as done:
            for frame in frames[1:]:
                segment(frame, stream=stream)
        assert done["waits"] == done["graph launches"] == done["allocations"] == 0


def test_memory_of_forgotten_labels_serves_again(exported: Export, make_host: MakeHost) -> None:
    host = make_host(mode="random")
    with host.segmenter(exported("d2l fcn32s")) as segment:
        frame, stream = TorchLike(host.gpu, frames_of(1, 60, 70)[0]), ForeignStream(host.gpu)
        kept = [segment(frame, stream=stream) for _ in range(3)]
        assert len({labels.address for labels in kept}) == 3
        addresses = {labels.address for labels in kept}
        del kept
        with host.gpu.counting() as done:
            for _ in range(5):
                assert segment(frame, stream=stream).address in addresses
        assert done["allocations"] == 0


def test_default_stream_is_the_order_where_none_is_named(exported: Export, make_host: MakeHost) -> None:
    model, content = exported("d2l fcn32s"), frames_of(1, 60, 70)[0]
    (expected,) = labels_on_cpu(model, [content])
    host = make_host()
    with host.segmenter(model) as segment:
        frame = TorchLike(host.gpu, np.zeros_like(content))
        frame.fill(content, 0)
        assert (read(segment(frame), host, 0) == expected).mean() >= ALIKE


def test_stream_that_an_array_names_is_waited_for(exported: Export, make_host: MakeHost) -> None:
    model, content = exported("d2l fcn32s"), frames_of(1, 60, 70)[0]
    (expected,) = labels_on_cpu(model, [content])
    host = make_host()
    with host.segmenter(model) as segment:
        producer, consumer = ForeignStream(host.gpu), ForeignStream(host.gpu)
        frame = CupyLike(host.gpu, np.zeros_like(content), stream=producer.value)
        frame.fill(content, producer.value)
        labels = segment(frame, stream=consumer)
        assert (read(labels, host, consumer.value) == expected).mean() >= ALIKE


@pytest.mark.parametrize("mode", MODES)
def test_two_streams_in_turn(mode: str, exported: Export, make_host: MakeHost) -> None:
    model, frames = exported("tramac fcn8s"), frames_of(8, 60, 70)
    expected = labels_on_cpu(model, frames)
    host = make_host(mode=mode)
    with host.segmenter(model) as segment:
        streams = [ForeignStream(host.gpu), ForeignStream(host.gpu)]
        arrays = [TorchLike(host.gpu, np.zeros((60, 70, 3), np.uint8)) for _ in streams]
        results = []
        for index, content in enumerate(frames):
            arrays[index % 2].fill(content, streams[index % 2].value)
            results.append(segment(arrays[index % 2], stream=streams[index % 2]))
        for index, labels in enumerate(results):
            assert (read(labels, host, streams[index % 2].value) == expected[index]).mean() >= ALIKE


def test_frames_with_padded_rows_and_odd_addresses(exported: Export, make_host: MakeHost) -> None:
    model, content = exported("d2l fcn32s"), frames_of(2, 60, 70)
    (expected,) = labels_on_cpu(model, [content])
    padded = np.zeros((2, 64, 99, 3), np.uint8)[:, 3:63, 5:75]
    padded[:] = content
    host = make_host()
    with host.segmenter(model) as segment:
        labels = segment(TorchLike(host.gpu, padded))
        assert (read(labels, host, 0) == expected).mean() >= ALIKE


@pytest.mark.parametrize("engine", ["10.16.1", "onnxruntime"])
@pytest.mark.parametrize(("matrix", "full_range"), [("bt601", False), ("bt709", True)])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_nv12_frames(
    color: str,
    matrix: str,
    full_range: bool,
    engine: str,
    exported: Export,
    make_host: MakeHost,
) -> None:
    model, chance = exported("d2l fcn32s", "--color", color), np.random.default_rng(0)
    luma = np.repeat(chance.integers(16, 236, (71, 12), np.uint8), 8, axis=1)[:, :93]  # rows padded to 96
    chroma = chance.integers(90, 170, (36, 64, 2), np.uint8)[:, :47]
    pixels = reference.nv12_to_rgb(luma, chroma, matrix, full_range)
    (expected,) = labels_on_cpu(model, [pixels], color="rgb")
    host = make_host(engine)
    with host.segmenter(model) as segment:
        stream = ForeignStream(host.gpu)
        planes = PyavLike(host.gpu, luma), PyavLike(host.gpu, chroma)
        frame = fcnrt.Nv12Frame(*planes, matrix=matrix, full_range=full_range)  # type: ignore[arg-type]
        for _ in range(3):
            labels = segment(frame, stream=stream)
        assert labels.shape == (71, 93)
        assert (read(labels, host, stream.value) == expected).mean() >= 0.99  # bytes rounded in float32
        with host.gpu.counting() as done:
            segment(frame, stream=stream)
        assert done["waits"] == done["HtoD"] == done["DtoH"] == done["allocations"] == 0


def test_confidence_and_input_size_of_device_frames(
    exported: Export, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "resized", reference.resize)  # as kernels round; Pillow and OpenCV are off by 1 at times
    model, content = exported("tramac fcn8s"), frames_of(1, 203, 251)[0]
    with fcnrt.Segmenter(model, device="cpu", input_size=(96, 120)) as on_cpu:
        expected = on_cpu(content, confidence=(sure := np.empty((203, 251), np.uint8)))
    host = make_host()
    with host.segmenter(model, input_size=(96, 120)) as segment:
        confidence = TorchLike(host.gpu, np.zeros((203, 251), np.uint8))
        labels = segment(TorchLike(host.gpu, content), confidence=confidence)
        assert (read(labels, host, 0) == expected).mean() >= ALIKE
        assert (np.abs(confidence.read(0).astype(int) - sure) <= 1).all()


def test_labels_outlive_the_segmenter(exported: Export, make_host: MakeHost) -> None:
    model, content = exported("d2l fcn32s"), frames_of(1, 60, 70)[0]
    host = make_host()
    with host.segmenter(model) as segment:
        labels = segment(TorchLike(host.gpu, content))
    gc.collect()
    assert (labels.numpy() == labels_on_cpu(model, [content])[0]).mean() >= ALIKE
    del labels


def described(address: int) -> Any:
    """Bytes (60, 70) from an address."""
    facts = {"shape": (60, 70), "typestr": "|u1", "data": (address, False), "version": 3}
    return types.SimpleNamespace(__cuda_array_interface__=facts)


def overlapping(host: Any, frames: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Targets in the memory of the frames, or of each other."""
    within = described(frames.address + 7)
    yield {"out": within}, r"^out: expected an array of its own, got one that shares memory with `frames`"
    yield {"confidence": within}, r"^confidence: .* shares memory with `frames`"
    labels = TorchLike(host.gpu, np.zeros((60, 70), np.uint8))
    beside = described(labels.address + 60 * 70 - 1)
    yield {"out": labels, "confidence": beside}, r"^confidence: .* shares memory with `out`"


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (np.zeros((60, 70, 3), np.float32), "frames: expected a uint8 device array, got float32"),
        (np.zeros((60, 70), np.uint8), r"frames: expected shape \(H, W, 3\) or \(N, H, W, 3\), got \(60, 70\)"),
        (np.zeros((3, 60, 70), np.uint8).transpose(1, 2, 0), "expected rows of packed pixels, got strides"),
        (np.zeros((60, 200, 3), np.uint8), "expected batch x height x width of .* got 1x60x200; rebuild with"),
    ],
)
def test_wrong_frames(frames: np.ndarray, text: str, exported: Export, make_host: MakeHost) -> None:
    host = make_host()
    with host.segmenter(exported("d2l fcn32s")) as segment:
        with pytest.raises(fcnrt.FrameError, match=text):
            segment(TorchLike(host.gpu, frames))
        with pytest.raises(fcnrt.FrameError, match="out: expected a contiguous uint8 device array"):
            good = TorchLike(host.gpu, frames_of(1, 60, 70)[0])
            segment(good, out=TorchLike(host.gpu, np.zeros((60, 71), np.uint8)))
        for targets, text in overlapping(host, good):
            with pytest.raises(fcnrt.FrameError, match=text):
                segment(good, **targets)
        with pytest.raises(fcnrt.UsageError, match="stream: expected None, an int, or a stream"):
            segment(good, stream="0")


def test_arrays_on_another_gpu(exported: Export, make_host: MakeHost) -> None:
    host = make_host(devices=2)
    with host.segmenter(exported("d2l fcn32s")) as segment:
        here, elsewhere = (TorchLike(host.gpu, frames_of(1, 60, 70)[0], device=device) for device in (0, 1))
        target = TorchLike(host.gpu, np.zeros((60, 70), np.uint8), device=1)
        for arguments in ({"frames": elsewhere}, {"frames": here, "out": target}):
            with pytest.raises(fcnrt.FrameError, match="expected memory of cuda:0 in its primary"):
                segment(**arguments)


def test_arrays_of_another_context(exported: Export, make_host: MakeHost) -> None:
    """PyCUDA's own context, which pycuda.autoinit makes; our kernels would break on its memory."""
    host = make_host()
    with host.segmenter(exported("d2l fcn32s")) as segment:
        frame = PycudaLike(host.gpu, frames_of(1, 60, 70)[0])
        frame._allocation.context = 0xABC0
        with pytest.raises(fcnrt.FrameError, match=r"PyCUDA: import pycuda\.autoprimaryctx"):
            segment(frame)
        frame._allocation.context = None
        assert segment(frame).shape == (60, 70)


@pytest.mark.parametrize("mode", MODES)
def test_stream_that_a_target_names_is_waited_for(mode: str, exported: Export, make_host: MakeHost) -> None:
    model, content = exported("d2l fcn32s"), frames_of(1, 60, 70)[0]
    host = make_host(mode=mode)
    with host.segmenter(model) as segment:
        user, caller = ForeignStream(host.gpu), ForeignStream(host.gpu)
        frame = TorchLike(host.gpu, content)
        out = CupyLike(host.gpu, np.zeros((60, 70), np.uint8), stream=user.value)
        for _ in range(4):
            out.fill(np.full((60, 70), 9, np.uint8), user.value)  # still at work on it
            segment(frame, out=out, stream=caller)
            assert (out.read(caller.value) == labels_on_cpu(model, [content])[0]).mean() >= ALIKE
            host.gpu.read(out.address, (1,), np.uint8, after=user.value)
