"""Device arrays of every library: read and written in place, in the order of the caller's stream, nobody waiting."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import fcnrt
from fcnrt.backends.gpu import SLOTS
from fcnrt.gpu import cuda
from fcnrt.gpu.cuda import Gpu
from fcnrt.ops import reference
from frames import frames_of

from .agreement import Case, assert_agree, case_of
from .caller import Caller, Interface, Library, closed_gate
from .engines import Engine

pytestmark = pytest.mark.gpu
NAME = "d2l fcn32s"
WARM_UP = 8  # calls after which all that a shape needs is there, a CUDA graph included
PATIENCE_S = 0.2  # time for a wrong order to show; a right one passes whatever it is


@pytest.fixture
def case(engine: Engine) -> Case:
    return case_of(engine.machine.models(NAME), frames_of(2, 60, 71))


def warmed(segment: fcnrt.Segmenter, frames: Any, caller: Caller, **results: Any) -> None:
    for _ in range(WARM_UP):
        segment(frames, stream=caller.stream, **results)
    caller.synchronize()


def test_arrays_are_used_where_they_are(
    engine: Engine, library: Library, caller: Caller, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.open(NAME) as segment:
        seen = addresses_given_to(segment, monkeypatch)
        frames, out = library.array(case.frames), library.array(np.zeros_like(case.labels))
        assert segment(frames, out=out, stream=caller.stream) is out
        labels = segment(frames, stream=caller.stream)
        caller.synchronize()
        assert seen == [library.address(frames)] * 2, "the network reads the caller's own memory"
        written = library.gpu.downloaded(library.address(out), case.labels.shape, case.labels.dtype)
        assert_agree(written, case)
        address, content = library.adopted(labels)
        assert address == labels.address, "the library reads the labels where they are"
        assert_agree(content, case)
        np.testing.assert_array_equal(labels.numpy(), content)


def addresses_given_to(segment: fcnrt.Segmenter, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the network finds its frames, from now on."""
    kind, seen = type(segment._backend._network), []  # type: ignore[attr-defined]
    original = kind.scores

    def scores(network: Any, frames: int, shape: Any) -> Any:
        seen.append(frames)
        return original(network, frames, shape)

    monkeypatch.setattr(kind, "scores", scores)
    return seen


def test_frames_are_read_once_the_callers_stream_has_written_them(
    engine: Engine, library: Library, caller: Caller, case: Case, gpu: Gpu
) -> None:
    with engine.open(NAME) as segment:
        frames, out = library.array(np.zeros_like(case.frames)), library.array(np.zeros_like(case.labels))
        content = gpu.uploaded(case.frames)
        warmed(segment, frames, caller, out=out)
        with closed_gate(gpu) as gate:
            gate.hold(caller.handle)
            caller.copy(library.address(frames), content.address, case.frames.nbytes)
            segment(frames, out=out, stream=caller.stream)
            assert caller.is_busy() and not gate.gave_up, "the call waited for the caller's stream"
            time.sleep(PATIENCE_S)
        caller.synchronize()
        assert_agree(gpu.downloaded(library.address(out), case.labels.shape, case.labels.dtype), case)


def test_the_callers_stream_goes_on_once_the_labels_are_there(
    engine: Engine, library: Library, caller: Caller, case: Case, gpu: Gpu
) -> None:
    with engine.open(NAME) as segment:
        frames, out = library.array(case.frames), library.array(np.zeros_like(case.labels))
        taken, other = gpu.uploaded(np.zeros_like(case.labels)), gpu.uploaded(np.zeros_like(case.frames))
        warmed(segment, frames, caller, out=out)
        gpu.call("cuMemsetD8Async", library.address(out), 255, case.labels.nbytes, caller.handle)
        with closed_gate(gpu) as gate:
            gate.hold(compute_stream(segment))
            segment(frames, out=out, stream=caller.stream)
            caller.copy(taken.address, library.address(out), case.labels.nbytes)
            caller.copy(library.address(frames), other.address, case.frames.nbytes)
            time.sleep(PATIENCE_S)
            assert caller.is_busy() and not gate.gave_up, "the caller's stream did not wait, or the host did"
        caller.synchronize()
        assert_agree(gpu.downloaded(taken.address, case.labels.shape, case.labels.dtype), case)


def compute_stream(segment: fcnrt.Segmenter) -> int:
    return int(segment._backend._compute.handle)  # type: ignore[attr-defined]


def test_submitting_host_frames_does_not_wait_for_the_engine(engine: Engine, case: Case, gpu: Gpu) -> None:
    with engine.open(NAME) as segment:
        for _ in range(SLOTS * WARM_UP):
            segment(case.frames)
        labels = [np.empty_like(case.labels) for _ in range(SLOTS)]
        held = Caller(gpu, compute_stream(segment))
        with closed_gate(gpu) as gate:
            gate.hold(held.handle)
            landings = [segment._backend.submit(case.frames, target) for target in labels]
            assert held.is_busy() and not gate.gave_up, "submit waited for the engine"
        for land, target in zip(landings, labels, strict=True):
            land()
            assert_agree(target, case)


@pytest.mark.parametrize("library", ["the interface"], indirect=True)
def test_steady_state_asks_nothing_costly_of_the_driver(
    engine: Engine, library: Interface, caller: Caller, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.open(NAME) as segment:
        frames, called = library.array(case.frames), []
        warmed(segment, frames, caller)
        original = cuda.Gpu.call

        def call(gpu: Gpu, function: str, *arguments: Any) -> Any:
            called.append(function)
            return original(gpu, function, *arguments)

        monkeypatch.setattr(cuda.Gpu, "call", call)
        for _ in range(5):
            segment(frames, stream=caller.stream)
    costly = ("Alloc", "Memcpy", "Synchronize", "Create", "Load", "Instantiate")
    in_calls = called[: len(called) - called[::-1].index("cuStreamWaitEvent")]  # what follows is of the end
    assert "cuLaunchKernel" in in_calls
    assert not [function for function in in_calls if any(word in function for word in costly)]


@pytest.mark.parametrize(("matrix", "full_range"), [("bt601", True), ("bt709", False)])
def test_nv12_frames(matrix: Any, full_range: bool, engine: Engine, library: Library, caller: Caller) -> None:
    chance = np.random.default_rng(0)
    luma = np.repeat(np.repeat(chance.integers(16, 236, (12, 13), np.uint8), 7, axis=0), 7, axis=1)[:79]  # (79, 91)
    chroma = np.repeat(chance.integers(90, 170, (10, 46, 2), np.uint8), 4, axis=0)  # (40, 46, 2)
    pixels = reference.nv12_to_rgb(luma, chroma, matrix, full_range)
    frame = fcnrt.Nv12Frame(library.array(luma), library.array(chroma), matrix=matrix, full_range=full_range)
    with engine.open(NAME) as segment:
        labels = segment(frame, stream=caller.stream).numpy()
        same = segment(library.array(pixels), stream=caller.stream).numpy()
    assert labels.shape == (79, 91)
    assert (labels == same).mean() >= 0.99  # bytes are rounded from float32, in the reference from float64
    (expected,) = case_of(engine.machine.models(NAME), pixels[None]).labels
    assert (labels == expected).mean() >= 0.99


@pytest.mark.parametrize("library", ["the interface"], indirect=True)
def test_rows_that_are_padded(engine: Engine, library: Interface, caller: Caller, case: Case) -> None:
    canvas = np.zeros((2, 64, 99, 3), np.uint8)
    canvas[:, 3:63, 5:76] = case.frames
    whole = library.array(canvas)
    facts = whole.__cuda_array_interface__
    offset = (3 * 99 + 5) * 3
    facts.update(shape=case.frames.shape, strides=canvas.strides, data=(facts["data"][0] + offset, False))
    with engine.open(NAME) as segment:
        assert_agree(segment(whole, stream=caller.stream).numpy(), case)


def test_resized_device_frames_with_confidence(engine: Engine, library: Library, caller: Caller, gpu: Gpu) -> None:
    model, frames = engine.machine.models("caffe fcn8s"), frames_of(2, 203, 251)
    expected, sure = np.empty(frames.shape[:3], np.uint8), np.empty(frames.shape[:3], np.uint8)
    with fcnrt.Segmenter(model, device="cpu", input_size=(96, 120)) as on_cpu:
        on_cpu(frames, out=expected, confidence=sure)
    confidence = library.array(np.zeros_like(sure))
    with engine.open("caffe fcn8s", input_size=(96, 120)) as segment:
        labels = segment(library.array(frames), confidence=confidence, stream=caller.stream)
        assert (labels.numpy() == expected).mean() >= 0.98
    found = gpu.downloaded(library.address(confidence), sure.shape, np.uint8)
    assert (np.abs(found.astype(int) - sure) <= 3).mean() >= 0.95  # resized frames differ by their rounding
