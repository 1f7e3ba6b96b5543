"""Two frames at once on the CPU: the labels and the order of one after another, and what is done alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.backends import pair
from fcnrt.contract.cores import cores, logical_cores
from frames import frames_of as textured
from network_names import NAMES

SIZES = [(65, 43), (40, 77), (65, 43), (33, 32), (65, 43), (40, 77)]
ENGINES = "onnxruntime", "openvino"


@pytest.fixture(autouse=True)
def pays_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair is loaded after the first frame of a stream."""
    monkeypatch.setattr(pair, "GAIN", 1e9)


@pytest.fixture
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


@pytest.fixture(params=ENGINES)
def segment(request: pytest.FixtureRequest, model: Path) -> Iterator[fcnrt.Segmenter]:
    pytest.importorskip(request.param)
    with fcnrt.Segmenter(model, device="cpu", engine=request.param, threads=2) as segmenter:
        yield segmenter


def frames_of(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [textured(1, *size, seed=index)[0] for index, size in enumerate(sizes)]


def pair_of(segment: fcnrt.Segmenter) -> pair.Pair | None:
    return segment.backend._pairing._pair  # type: ignore[attr-defined]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "threads"), [*((name, 2) for name in NAMES), (NAMES[0], 5)])
def test_labels_and_order_are_those_of_one_after_another(
    name: str, engine: str, threads: int, exported: Export
) -> None:
    pytest.importorskip(engine)
    frames = frames_of(*SIZES)
    with fcnrt.Segmenter(exported(name), device="cpu", engine=engine, threads=threads) as segment:
        expected = [segment(frame) for frame in frames]
        for depth in (2, 4):
            results = list(segment.stream(frames, depth))
            assert all(got is given for (got, _), given in zip(results, frames, strict=True))
            assert all(np.array_equal(labels, wanted) for (_, labels), wanted in zip(results, expected, strict=True))
        # Trained transposed convolutions are rounded differently by OpenVINO with fewer threads.
        assert (pair_of(segment) is None) == (engine == "openvino" and name.startswith("pochih"))


def test_two_frames_are_worked_on_at_once(segment: fcnrt.Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    list(segment.stream(frames_of(*SIZES), 2))
    both, lanes = threading.Barrier(2, timeout=30), pair_of(segment)._lanes  # type: ignore[union-attr]
    for lane in lanes:
        monkeypatch.setattr(lane, "label", lambda *arrays: both.wait())
    assert len(list(segment.stream(frames_of(*SIZES), 4))) == len(SIZES)  # each has waited for another


def test_a_short_stream_loads_no_second_network(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "GAIN", 1e-9)
    with fcnrt.Segmenter(model, device="cpu", threads=2) as segment:
        assert len(list(segment.stream(frames_of(*SIZES)))) == len(SIZES)
        assert segment.in_flight == 4 and pair_of(segment) is None


def test_calls_and_depth_1_take_all_threads(segment: fcnrt.Segmenter) -> None:
    for frame in frames_of(*SIZES):
        segment(frame)
    assert len(list(segment.stream(frames_of(*SIZES), depth=1))) == len(SIZES)
    assert pair_of(segment) is None


def test_one_thread_is_not_halved(model: Path) -> None:
    with fcnrt.Segmenter(model, device="cpu", threads=1) as segment:
        assert segment.in_flight == 1 and len(list(segment.stream(frames_of(*SIZES)))) == len(SIZES)
        assert pair_of(segment) is None


def test_without_memory_frames_go_one_after_another(segment: fcnrt.Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "available_bytes", lambda: 0)
    assert len(list(segment.stream(frames_of(*SIZES)))) == len(SIZES) and pair_of(segment) is None


def test_a_file_that_is_another_meanwhile(exported: Export, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported("torchvision fcn").read_bytes())
    with fcnrt.Segmenter(path, device="cpu", threads=2) as segment:
        path.write_bytes(path.read_bytes() + b"\0")
        assert len(list(segment.stream(frames_of(*SIZES)))) == len(SIZES) and pair_of(segment) is None


def test_a_bad_frame_is_told_at_its_turn_and_others_are_labelled(segment: fcnrt.Segmenter) -> None:
    frames = frames_of(*SIZES, *SIZES)
    expected = [segment(frame) for frame in frames]
    frames[5] = np.zeros((5, 5), np.uint8)
    for index, (frame, labels) in enumerate(segment.each(frames, 4)):
        if index == 5:
            with pytest.raises(fcnrt.FrameError, match="frames: expected"):
                labels()
        else:
            assert frame is frames[index] and np.array_equal(labels(), expected[index])


def test_what_finding_the_pixels_raises_is_told_at_the_items_turn(segment: fcnrt.Segmenter) -> None:
    frames = dict(enumerate(frames_of(*SIZES)))
    results = list(segment.each([0, 1, 9, 2], 3, pixels=frames.__getitem__))
    assert [item for item, _ in results] == [0, 1, 9, 2] and results[3][1]().shape == SIZES[2]
    with pytest.raises(KeyError):
        results[2][1]()


def test_labels_that_nobody_asks_for_are_finished(segment: fcnrt.Segmenter) -> None:
    results = segment.each(frames_of(*SIZES, *SIZES), 4)
    for _ in range(4):
        next(results)
    results.close()
    assert segment(frames_of((24, 31))[0]).shape == (24, 31)


def test_large_frames_bound_what_is_in_flight(segment: fcnrt.Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, fetched = frames_of(*SIZES), []
    monkeypatch.setattr("fcnrt.contract.in_flight.AHEAD", max(frame.nbytes for frame in frames))
    for count, _ in enumerate(segment.stream((fetched.append(frame) or frame for frame in frames), 5), start=1):
        assert len(fetched) <= count + 1


def test_tiles_go_alone(model: Path) -> None:
    large, small = frames_of((700, 500), (60, 50))
    with fcnrt.Segmenter(model, device="cpu", threads=2, tile=512) as segment:
        expected = [segment(frame) for frame in (small, large)]
        fetched: list[int] = []
        threads: set[threading.Thread] = set()
        segment.backend.observer = lambda stage: threads.add(threading.current_thread()) if stage == "tile" else None
        given = [small, small, small, large, small, small]
        results = segment.stream((fetched.append(0) or frame for frame in given), 5)
        for count, (frame, labels) in enumerate(results, start=1):
            assert np.array_equal(labels, expected[frame is large]) and (count > 4 or len(fetched) <= 4)
        assert threads == {threading.current_thread()}  # which an interrupt reaches


def test_the_threads_of_a_pair_end_with_it(model: Path) -> None:
    before = threading.active_count()
    with fcnrt.Segmenter(model, device="cpu", threads=2) as segment, segment.clone() as clone:
        for each in (segment, clone):
            list(each.stream(frames_of(*SIZES)))
        assert pair_of(segment) is not pair_of(clone) and threading.active_count() > before
    assert threading.active_count() == before


def test_physical_cores_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    assert cores(tmp_path) == 4  # not described
    for number, siblings in enumerate(["0,4", "1,5", "2,6", "3,7", "0,4", "1,5"]):
        (tmp_path / f"cpu{number}/topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}/topology/thread_siblings_list").write_text(f"{siblings}\n")
    assert cores(tmp_path) == 3 and logical_cores() == 4
