"""Host frames through the GPU runtime, on a simulated GPU: right labels on every engine, in order, without waste."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.backends import cpu, gpu, onnxruntime_cuda
from fcnrt.ops import reference
from frames import frames_of
from network_names import CLASSES, MANY_CLASSES
from simulated import MODES
from simulated.host import ENGINES, MakeHost, labels_on_cpu
from simulated.kernel_functions import kernel_records
from simulated.triton_kernels import interpreted_kernel

TAILS = ("torchvision fcn", "tramac fcn8s", "caffe fcn32s", "pochih fcns")  # one for each kind
ALIKE = 0.9995  # float32 of another order of operations moves the border between two classes


def same(labels: np.ndarray, expected: np.ndarray) -> bool:
    return labels.shape == expected.shape and labels.dtype == expected.dtype and (labels == expected).mean() >= ALIKE


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("engine", ENGINES)
def test_labels_are_those_of_the_cpu(engine: str, mode: str, exported: Export, make_host: MakeHost) -> None:
    model = exported("torchvision fcn")
    shapes = [(1, 65, 43), (3, 40, 77), (1, 65, 43), (1, 65, 43), (2, 33, 132), (3, 40, 77)]
    frames = [frames_of(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    host = make_host(engine, mode)
    with host.segmenter(model) as segment:
        assert segment.device == "cuda:0"
        for batch, expected in zip(frames, labels_on_cpu(model, frames), strict=True):
            assert same(segment(batch), expected)
            assert same(segment(batch[0]), expected[0])


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("engine", ["8.6.1", "onnxruntime"])
def test_every_kind_of_tail(name: str, engine: str, exported: Export, make_host: MakeHost) -> None:
    frame = frames_of(1, 71, 94)[0]
    host = make_host(engine)
    with host.segmenter(exported(name)) as segment:
        confidence = np.empty((71, 94), np.uint8)
        (expected,) = labels_on_cpu(exported(name), [frame])
        assert same(segment(frame, confidence=confidence), expected)
        with fcnrt.Segmenter(exported(name), device="cpu") as on_cpu:
            on_cpu(frame, confidence=(sure := np.empty((71, 94), np.uint8)))
            assert np.abs(confidence.astype(int) - sure).max() <= 1
            np.testing.assert_allclose(segment.scores(frame), on_cpu.scores(frame), rtol=1e-4, atol=1e-4)


def test_the_real_kernels_in_the_real_runtime(exported: Export, make_host: MakeHost) -> None:
    model, frame = exported("caffe fcn8s"), frames_of(1, 37, 51)[0]
    host = make_host(typed=True)
    engine = host.model(model, kernels=kernel_records(host.gpu, make=interpreted_kernel))
    with fcnrt.Segmenter(engine, input_size=(40, 45), color="bgr") as segment:
        (expected,) = labels_on_cpu(model, [frame], input_size=(40, 45), color="bgr")
        assert (segment(frame) == expected).mean() >= 0.99  # Pillow and our kernel round differently


def test_labels_of_more_than_256_classes(exported: Export, make_host: MakeHost) -> None:
    model = exported(MANY_CLASSES)
    frame = frames_of(1, 40, 50)[0]
    host = make_host()
    with host.segmenter(model) as segment:
        labels = segment(frame)
        assert labels.dtype == np.uint16 and same(labels, labels_on_cpu(model, [frame])[0])


@pytest.mark.parametrize("engine", ["10.16.1", "onnxruntime"])
def test_steady_state_allocates_nothing_and_waits_once(engine: str, exported: Export, make_host: MakeHost) -> None:
    frames = frames_of(12, 60, 80)
    host = make_host(engine)
    with host.segmenter(exported("caffe fcn8s")) as segment:
        for frame in frames[:7]:
            segment(frame)
        with host.gpu.counting() as done:
            for frame in frames[7:]:
                segment(frame)
        assert done["allocations"] == 0 and done["pageable copies"] == 0 and done["implicit waits"] == 0
        assert done["waits"] == done["HtoD"] == done["DtoH"] == done["cuLaunchKernel"] == 5
        assert done["HtoD bytes"] == frames[7:].nbytes
        assert done["graph launches"] == (5 if engine == "10.16.1" else 0)


@pytest.mark.parametrize("mode", MODES)
def test_large_frames_go_up_in_parts(mode: str, exported: Export, make_host: MakeHost) -> None:
    model, frames = exported("d2l fcn32s"), frames_of(3, 611, 723)  # 1.3 MB each
    expected = labels_on_cpu(model, frames)
    host = make_host(mode=mode)
    with fcnrt.Segmenter(host.model(model, profiles=[((1, 32, 32), (1, 64, 96), (1, 700, 800))])) as segment:
        with host.gpu.counting() as done:
            assert all(same(segment(frame), labels) for frame, labels in zip(frames, expected, strict=True))
        assert done["cuMemcpyHtoDAsync"] == 6 and done["cuMemcpyDtoHAsync"] == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", [1, 2, 3, 7])
def test_stream_keeps_order_at_any_depth(depth: int, mode: str, exported: Export, make_host: MakeHost) -> None:
    model = exported("d2l fcn32s")
    frames = [frames_of(1, 64 + 9 * (seed // 4), 70, seed)[0] for seed in range(12)]
    host = make_host(mode=mode)
    with host.segmenter(model) as segment:
        results = list(segment.stream(iter(frames), depth))
        assert all(given is frame for (given, _), frame in zip(results, frames, strict=True))
        for (_, labels), expected in zip(results, labels_on_cpu(model, frames), strict=True):
            assert same(labels, expected)


def test_frames_may_change_once_a_call_has_returned(exported: Export, make_host: MakeHost) -> None:
    model, frames = exported("d2l fcn32s"), frames_of(6, 50, 60)
    expected = labels_on_cpu(model, frames)
    host = make_host()
    with host.segmenter(model) as segment:
        frame, labels = np.empty((50, 60, 3), np.uint8), np.empty((50, 60), np.uint8)
        for index in range(6):
            frame[:] = frames[index]
            assert segment(frame, out=labels) is labels
            assert same(labels, expected[index])


def test_stream_that_is_left_early_leaves_the_segmenter_usable(exported: Export, make_host: MakeHost) -> None:
    model, frames = exported("d2l fcn32s"), frames_of(6, 50, 60)
    expected = labels_on_cpu(model, frames)
    host = make_host()
    with host.segmenter(model) as segment:
        results = segment.stream(frames)
        next(results)
        results.close()
        for frame, labels in zip(frames, expected, strict=True):
            assert same(segment(frame), labels)


def test_frames_that_do_not_fit_are_told_in_their_turn(exported: Export, make_host: MakeHost) -> None:
    frames = [frames_of(1, 50, 60)[0], frames_of(1, 200, 60)[0]]
    host = make_host()
    with host.segmenter(exported("d2l fcn32s")) as segment:
        results = segment.stream(frames)
        assert next(results)[1].shape == (50, 60)
        message = (
            r"frames: expected batch x height x width of 1x32x32 to 3x130x140 \(profile of .*\.engine\), "
            "got 1x200x60; rebuild with --min 1x32x32 --max 3x200x140, or resize"
        )
        with pytest.raises(fcnrt.FrameError, match=message):
            next(results)


@pytest.mark.parametrize("engine", ["10.16.1", "onnxruntime"])
@pytest.mark.parametrize("antialias", [True, False])
def test_input_size_gives_labels_at_the_frames_own_size(
    antialias: bool, engine: str, exported: Export, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "resized", reference.resize)  # as kernels round; Pillow and OpenCV are off by 1 at times
    model, frame = exported("tramac fcn8s"), frames_of(1, 203, 251)[0]
    options = {"input_size": (96, 120), "antialias": antialias}
    host = make_host(engine)
    with host.segmenter(model, **options) as segment:
        labels = segment(frame)
        assert labels.shape == (203, 251)
        assert (labels == labels_on_cpu(model, [frame], **options)[0]).mean() >= ALIKE


def test_resizing_is_proved_once_for_all_shapes(
    exported: Export, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs: list[Any] = []
    monkeypatch.setattr(gpu, "prove_resizing", lambda *arguments: proofs.append(1))
    with make_host().segmenter(exported("tramac fcn8s"), input_size=(96, 120)) as segment:
        for height in (60, 70, 80):
            segment(frames_of(1, height, 90)[0])
    assert proofs == [1]


@pytest.mark.parametrize("engine", ["10.16.1", "onnxruntime"])
def test_bgr_frames(engine: str, exported: Export, make_host: MakeHost) -> None:
    model, frame = exported("torchvision fcn"), frames_of(1, 60, 70)[0]
    (expected,) = labels_on_cpu(model, [frame])
    host = make_host(engine)
    with host.segmenter(model, color="bgr") as segment:
        assert same(segment(frame[..., ::-1]), expected)


@pytest.mark.parametrize("mode", MODES)
def test_many_shapes_in_any_order(mode: str, exported: Export, make_host: MakeHost) -> None:
    model, chance = exported("d2l fcn32s"), np.random.default_rng(3)
    sizes = [(int(chance.integers(1, 4)), *chance.integers(32, 131, 2).tolist()) for _ in range(12)]
    frames = [frames_of(*sizes[index]) for index in chance.integers(0, 12, 40)]
    host = make_host(mode=mode)
    with host.segmenter(model) as segment:
        for batch, expected in zip(frames, labels_on_cpu(model, frames), strict=True):
            assert same(segment(batch), expected)


def test_graphs_can_be_done_without(exported: Export, make_host: MakeHost) -> None:
    model, frames = exported("d2l fcn32s"), frames_of(8, 50, 60)
    expected = labels_on_cpu(model, frames)
    host = make_host()
    with host.segmenter(model, graphs=False) as segment:
        assert all(same(segment(frame), labels) for frame, labels in zip(frames, expected, strict=True))
        assert host.gpu.counters["graph launches"] == 0


@pytest.mark.parametrize("engine", ["8.6.1", "10.16.1", "rtx"])
def test_engine_that_cannot_be_captured_runs_all_the_same(engine: str, exported: Export, make_host: MakeHost) -> None:
    model, frames = exported("d2l fcn32s"), frames_of(9, 50, 60)
    expected = labels_on_cpu(model, frames)
    host = make_host(engine)
    host.trt.capturable = False
    with host.segmenter(model) as segment:
        assert all(same(segment(frame), labels) for frame, labels in zip(frames, expected, strict=True))
    assert host.gpu.counters["graph launches"] == 0


def test_several_profiles(exported: Export, make_host: MakeHost) -> None:
    model = exported("d2l fcn32s")
    frames = [frames_of(*shape) for shape in [(1, 50, 60), (2, 120, 100), (1, 50, 60), (1, 50, 60), (2, 120, 100)]]
    profiles = [((1, 32, 32), (1, 50, 60), (1, 64, 64)), ((1, 64, 64), (1, 100, 100), (2, 130, 130))]
    host = make_host()
    with fcnrt.Segmenter(host.model(model, profiles=profiles)) as segment:
        for batch, expected in zip(frames, labels_on_cpu(model, frames), strict=True):
            assert same(segment(batch), expected)
        with pytest.raises(fcnrt.FrameError, match="1x32x32 to 1x64x64 or 1x64x64 to 2x130x130"):
            segment(frames_of(1, 40, 120))


@pytest.mark.parametrize("engine", ["8.6.1", "11.4.0", "onnxruntime"])
def test_clones_label_in_threads_of_their_own(engine: str, exported: Export, make_host: MakeHost) -> None:
    model, frames = exported("d2l fcn32s"), frames_of(16, 48, 56)
    expected = labels_on_cpu(model, frames)
    wrong: list[int] = []

    def work(segment: fcnrt.Segmenter, index: int) -> None:
        wrong.extend(index for _ in range(5) if not same(segment(frames[index]), expected[index]))

    with make_host(engine, "random").segmenter(model) as first:
        clones = [first.clone() for _ in range(16)]
        threads = [threading.Thread(target=work, args=pair) for pair in zip(clones, range(16), strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for clone in clones:
            clone.close()
    assert wrong == []


@pytest.mark.parametrize("engine", ["10.16.1", "onnxruntime"])
def test_graphs_own_tail_where_there_are_no_kernels(
    engine: str, exported: Export, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, frames = exported("torchvision fcn"), frames_of(5, 60, 70)
    expected = labels_on_cpu(model, frames)
    host = make_host(engine)
    if engine == "onnxruntime":
        monkeypatch.setattr(onnxruntime_cuda, "installed_kernels", lambda sm: [])
        with pytest.warns(RuntimeWarning, match="no kernels are installed for Simulated GPU .* `make kernels`"):
            segment = fcnrt.Segmenter(model, device="cuda")
    else:
        segment = fcnrt.Segmenter(host.model(model, output="labels", kernels=[]))
    with segment:
        assert all(same(segment(frame), labels) for frame, labels in zip(frames, expected, strict=True))
        for call in (
            lambda: segment.scores(frames[0]),
            lambda: segment(frames[0], confidence=np.empty((60, 70), np.uint8)),
        ):
            with pytest.raises(fcnrt.UsageError, match="gives labels only"):
                call()
        assert same(segment(frames[0]), expected[0])


def test_graphs_own_tail_of_more_than_256_classes(
    exported: Export, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, frame = exported(MANY_CLASSES), frames_of(1, 40, 50)[0]
    make_host("onnxruntime")
    monkeypatch.setattr(onnxruntime_cuda, "installed_kernels", lambda sm: [])
    with pytest.warns(RuntimeWarning, match="no kernels"), fcnrt.Segmenter(model, device="cuda") as segment:
        labels = segment(frame)
    assert labels.dtype == np.uint16 and same(labels, labels_on_cpu(model, [frame])[0])
    engine = make_host().model(model, output="labels", kernels=[])
    with pytest.raises(fcnrt.ModelFileError, match="its labels of 300 classes are int32, for other programs; build it"):
        fcnrt.Segmenter(engine)


def test_closing_twice_gives_everything_back(exported: Export, make_host: MakeHost) -> None:
    host = make_host()
    segment = host.segmenter(exported("d2l fcn32s"))
    segment(frames_of(1, 50, 60))
    segment.close()
    segment.close()
    with pytest.raises(fcnrt.UsageError, match="was closed"):
        segment(frames_of(1, 50, 60))
    gc.collect()
    assert host.gpu.bytes_alive(owner="runtime") <= 64 << 10, "tables and activations are given back"


def test_palette_and_classes_of_an_engine(exported: Export, make_host: MakeHost) -> None:
    host = make_host()
    with host.segmenter(exported("caffe fcn8s")) as segment:
        assert len(segment.classes) == CLASSES and segment.palette.shape == (CLASSES, 3)
