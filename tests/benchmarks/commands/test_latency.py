"""The measurement as a whole on tiny networks and frames; no figure of time is judged."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_trees import own, save_frame
from fcn_bench.commands import latency
from fcn_bench.data import frame_pool
from fcn_bench.data.measured_frames import MeasuredFrames
from fcn_bench.metrics import ConfusionMatrix
from fcn_bench.report.markdown import contest_tables
from fcn_bench.speed import contest, solo, throughput
from fcn_bench.speed import latency as measuring
from fcn_bench.speed.contenders import CannotRun, Contender, Setup
from fcn_bench.speed.stages import observed, stage_times
from fcn_bench.speed.timing import Pace
from fcnrt import MediaError, Segmenter
from frames import frames_of
from simulated.host import MakeHost

Export = Callable[..., Path]
RATES = {"fp32": 50.0, "bf16": 100.0, "copy": 10.0}
SEVEN = ("soil", "leaf", "Blüte", "sky", "road", "wall", "tree")
QUICK = ["--iterations", "3", "--warmUp", "0", "--idleTime", "0", "--threads", "1", "--device", "cpu"]
ALONE = {"load_ms": 5.0, "first_ms": 2.0, "median_ms": 1.0, "host_mib": 90.0, "idle_mib": 50.0, "device_mib": None}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes time and is tested elsewhere: large pools, ceilings, processes."""
    monkeypatch.setattr(measuring, "pool_size", lambda height, width: 4)
    monkeypatch.setattr(measuring, "alone", lambda name, setup, frames: ALONE)
    for module in (latency, measuring):
        monkeypatch.setattr(module, "ceilings", lambda device, threads: RATES)
    monkeypatch.setattr(throughput, "LEAST_RUN_MS", 0)


def measured(model: Path, folder: Path, *words: str) -> dict[str, Any]:
    output = folder / "latency.json"
    assert latency.main([str(model), "--json", str(output), *QUICK, *words]) == 0
    return json.loads(output.read_text())


@pytest.mark.usefixtures("quick")
def test_a_run_measures_everything_that_it_lists(
    exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = exported("torchvision fcn")
    checkpoint = model.parent / "torchvision-fcn.pth"
    words = ["--checkpoint", str(checkpoint), "--sizes", "65x97", "40x51", "--against", "ort", "torch-eager"]
    result = measured(model, tmp_path, *words, "--curve-sizes", "33x41", "--curve-batches", "1", "3")
    assert [(size["height"], size["width"]) for size in result["sizes"]] == [(65, 97), (40, 51)]
    for size in result["sizes"]:
        rows = {row["name"]: row for row in size["rows"]}
        assert list(rows) == ["ours", "ort-scores", "ort-graph", "ort-textbook", "torch-eager"]
        assert size["base"] == "ours" and size["absent"].keys() == {"ours-engine", "ort-int8"}
        assert all(len(row["ms"]) == 3 and row["median_ms"] > 0 for row in rows.values())
        assert all(row["equal_to_reference"] >= 0.999 for name, row in rows.items() if name != "ort-scores")
        assert rows["ort-scores"]["equal_to_reference"] is rows["ours"]["times_ours"] is None
        assert size["flops"] > 1e6 and set(size["stages"]) == {"network", "tail", "python", "whole"}
        modes = [mode["mode"] for mode in size["throughput"]["modes"]]
        assert modes == ["one by one", "pipelined, depth 3", "batches of 2", "batches of 4", "2 threads"]
        assert [row["name"] for row in size["memory"]["rows"]] == list(rows)
    assert {(point["batch"], point["height"]) for point in result["curve"]} == {(1, 33), (1, 65), (3, 65)}
    printed = capsys.readouterr()
    assert "not run: needs --engine MODEL.engine, and a GPU" in printed.out
    for step in ("preparing frames of 40x51", "warming up torch eager", "running fcnrt alone in a process"):
        assert step in printed.err


@pytest.mark.usefixtures("quick")
def test_contenders_are_judged_on_a_data_set(
    exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames of two sizes, of neither of which the times are."""
    model, data = exported("torchvision fcn"), annotated(tmp_path / "data", SEVEN)
    words = ["--sizes", "40x51", "--against", "ort-graph", "openvino-fp32", "openvino-scores", "--latency-only"]
    result = measured(model, tmp_path, *words, "--judge", str(data))
    rows = {row["name"]: row for row in result["accuracy"]["rows"]}
    assert list(rows) == [row["name"] for row in result["sizes"][0]["rows"] if row["gives"] == "labels"]
    assert all(row["equal_to_ours"] >= 0.999 for row in rows.values()) and result["accuracy"]["frames"] == 3
    assert rows["ours"]["mean_iou"] == pytest.approx(mean_iou(model, data))
    (table,) = contest_tables(result)
    head, _, first, *_ = table.splitlines()
    assert head.endswith("| mIoU |") and first.endswith(f"| {100 * rows['ours']['mean_iou']:.2f} |")
    assert "3 frames of " in capsys.readouterr().out


def annotated(root: Path, classes: tuple[str, ...]) -> Path:
    own(root, classes=classes)
    (root / "val.txt").write_text("day0/shot_0\nday1/shot_1\nday0/shot_2\n")
    return root


def mean_iou(model: Path, data: Path) -> float:
    counts = ConfusionMatrix(len(SEVEN))
    with Segmenter(model, device="cpu", threads=1) as segment:
        for frame in MeasuredFrames(str(data)):
            counts.update(segment(frame.frame_hwc), frame.truth_hw)
    return counts.mean_iou()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [(SEVEN[1:], "expected the model's 7 classes, got 6"), ((), "expected an annotated data set, got pictures alone")],
)
def test_what_contenders_cannot_be_judged_on_is_told_first(
    classes: tuple[str, ...], expected: str, exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = annotated(tmp_path / "data", classes) if classes else tmp_path
    save_frame(tmp_path / "a.png", 1)
    assert latency.main([str(exported("torchvision fcn")), "--judge", str(data), *QUICK]) == 1
    error = capsys.readouterr().err
    assert f"--judge {data}: {expected}" in error and error.count("\n") == 1


@pytest.mark.usefixtures("quick")
def test_the_file_says_what_was_measured_and_names_no_folder(exported: Export, tmp_path: Path) -> None:
    model = exported("torchvision fcn")
    result = measured(model, tmp_path, "--sizes", "40x51", "--against", "ort-graph", "--latency-only")
    assert result["model"]["name"] == model.name and len(result["model"]["sha256"]) == 64
    assert result["checkpoint"] is None and "own graph" in result["sizes"][0]["reference"]
    assert result["environment"]["threads"] == 1 and result["pace"]["iterations"] == 3
    assert result["command"][:2] == ["benchmarks/latency.py", model.name]
    assert str(tmp_path) not in json.dumps(result) and str(model.parent) not in json.dumps(result)
    assert result["ceilings"] == {"before": RATES, "after": RATES}
    assert "stages" not in result["sizes"][0]


def test_commands_are_shown_without_folders() -> None:
    words = ["/a/b/model.onnx", "--checkpoint", "../c/net.pth", "--input-scale", "1/255", "--json=/d/e.json", "--sizes"]
    shown = ["model.onnx", "--checkpoint", "net.pth", "--input-scale", "1/255", "--json=e.json", "--sizes"]
    assert latency.command_of([*words, "480x640"]) == ["benchmarks/latency.py", *shown, "480x640"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["no.onnx"], "no.onnx: no such file"),
        (["MODEL", "--against", "caffe2"], "contender caffe2: expected all, a group or one of ours"),
        (["MODEL", "--frames", "no-folder"], "no-folder: no such file or folder"),
        (["MODEL", "--checkpoint", "no.pth"], "no.pth"),
        (["MODEL", "--decode"], "scenes: these frames are drawn, not decoded; name files by --frames"),
    ],
)
def test_what_does_not_fit_is_one_line(
    words: list[str], expected: str, exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(exported("torchvision fcn")) if word == "MODEL" else word for word in words]
    assert latency.main([*words, "--sizes", "40x51", "--json", str(tmp_path / "latency.json")]) == 1
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("latency: ") and expected in last
    assert not list(tmp_path.iterdir())


def test_a_contender_that_fails_later_is_listed_and_the_others_run(
    exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str, setup: Setup) -> Contender:
        if name == "torch-compile":
            return Contender(lambda frames: 1 // 0, "fp32")
        return contenders_open(name, setup)

    contenders_open = contest.open_contender
    monkeypatch.setattr(contest, "open_contender", opened)
    setup = Setup(exported("torchvision fcn"), (1, 40, 51), threads=1, folder=tmp_path)
    frames = list(frames_of(4, 40, 51)[:, None])
    made = contest.contest(["ours", "torch-compile"], setup, frames, Pace(2, warm_up_ms=0, idle_ms=0))
    assert [row["name"] for row in made["rows"]] == ["ours"]
    assert made["absent"] == {"torch-compile": "ZeroDivisionError: integer division or modulo by zero"}


def test_shares_of_equal_labels_are_of_the_frames_that_were_labelled(
    exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_wrong(frames: np.ndarray) -> np.ndarray:
        labels = truth(frames).copy()
        labels[:, :20] += 1
        return labels

    setup = Setup(exported("torchvision fcn"), (1, 40, 51), threads=1, folder=tmp_path)
    truth = contest.reference(setup)[0]
    ours = contest.open_contender("ours", setup)
    monkeypatch.setattr(
        contest, "open_contender", lambda name, setup: ours if name == "ours" else Contender(half_wrong, "fp32")
    )
    frames = list(frames_of(4, 40, 51)[:, None])
    made = contest.contest(["ours", "torch-eager"], setup, frames, Pace(2, warm_up_ms=0, idle_ms=0))
    assert [row["equal_to_reference"] for row in made["rows"]] == [1.0, 0.5]
    assert made["rows"][1]["times_bare"] is None  # nobody ran the bare session


def test_without_anything_of_ours_there_is_no_measurement(
    exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcnrt.backends.onnxruntime_cuda.why_not_cuda", lambda: "no driver")
    setup = Setup(exported("torchvision fcn"), (1, 40, 51), threads=1, folder=tmp_path, device="cuda")
    frames = list(frames_of(4, 40, 51)[:, None])
    with pytest.raises(CannotRun, match=r"nothing of ours runs here: .*cuda"):
        contest.contest(["ours", "torch-compile"], setup, frames, Pace(2, warm_up_ms=0, idle_ms=0))


def test_on_a_gpu_the_engine_is_what_others_are_compared_with(
    exported: Export, tmp_path: Path, make_host: MakeHost
) -> None:
    model = exported("torchvision fcn")
    engine = make_host("10.16.1").model(model)
    setup = Setup(model, (1, 65, 97), threads=1, folder=tmp_path, device="cuda", engine=engine)
    frames = list(frames_of(4, 65, 97)[:, None])
    made = contest.contest(["ours", "ours-engine"], setup, frames, Pace(2, warm_up_ms=0, idle_ms=0))
    (row,) = made["rows"]
    assert made["base"] == row["name"] == "ours-engine" and row["equal_to_reference"] >= 0.999
    assert row["host_copies"] == "both inside" and "ours" in made["absent"]


@pytest.mark.parametrize(
    ("words", "reason", "device"),
    [([], "no driver", "cpu"), ([], "", "cuda"), (["--device", "cpu"], "", "cpu"), (["--engine", "e"], "no", "cuda")],
)
def test_where_contenders_run(words: list[str], reason: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "why_not_cuda", lambda: reason)
    options = latency._parser().parse_args(["model.onnx", *words])
    assert measuring.setup_of(options, Path()).device == device


def test_stages_on_the_cpu_add_up(exported: Export) -> None:
    frames = list(frames_of(3, 65, 97)[:, None])
    with Segmenter(exported("torchvision fcn"), device="cpu", threads=1) as segment:
        segment(frames[0])
        stages = stage_times(segment, frames, rounds=1)
        parts = sum(stages[name]["median_ms"] for name in ("network", "tail", "python"))
        assert parts == pytest.approx(stages["whole"]["median_ms"]) and min(stages["tail"].values()) > 0
        assert segment.backend.observer is None  # left as it was


@pytest.mark.parametrize("engine", ["10.16.1", "onnxruntime"])
def test_stages_on_a_gpu_do_what_a_call_does(engine: str, exported: Export, make_host: MakeHost) -> None:
    frames = frames_of(1, 65, 97)
    with make_host(engine).segmenter(exported("torchvision fcn")) as segment:
        expected, laps = segment(frames), defaultdict[str, list[float]](list)
        with observed(segment.backend, laps):
            for _ in range(4):  # through all slots, and a captured graph
                np.testing.assert_array_equal(segment(frames), expected)
        stages = ["checks", "host staging", "host to device", "engine", "tail", "device to host", "host copy"]
        assert list(laps) == stages and all(len(times) == 4 for times in laps.values())
        assert set(stage_times(segment, [frames], 2)) == {*stages[1:], "whole", "python", "engine back to back"}


def test_throughput_leaves_out_what_the_engine_does_not_take(exported: Export, make_host: MakeHost) -> None:
    frames = list(frames_of(4, 65, 97)[:, None])
    with make_host("10.16.1").segmenter(exported("torchvision fcn")) as segment:  # batches of 3 at most
        rows, absent = throughput.throughput(segment, frames, 200.0, [3, 4], [2], Pace(2, idle_ms=0))
    assert [row["mode"] for row in rows] == ["one by one", "pipelined, depth 3", "batches of 3", "2 threads"]
    assert list(absent) == ["batches of 4"] and "batch x height x width" in absent["batches of 4"]
    assert all(row["frames"] == 12 and row["fps"]["median"] > 0 for row in rows)


@pytest.mark.parametrize(("frame_ms", "count"), [(700.0, 4), (100.0, 8), (10.0, 52)])
def test_a_timed_run_is_long_enough_and_even(frame_ms: float, count: int) -> None:
    assert throughput.frames_per_run(frame_ms, [2, 4]) == count


def test_alone_in_a_process(exported: Export, tmp_path: Path) -> None:
    setup = Setup(exported("torchvision fcn"), (2, 40, 51), threads=1, folder=tmp_path)
    found = solo.alone("ours", setup, frames_of(2, 40, 51), least_ms=0)
    assert found["host_mib"] > found["idle_mib"] > 5 and found["device_mib"] is None
    assert min(found["load_ms"], found["first_ms"], found["median_ms"]) > 0
    with pytest.raises(CannotRun, match="needs --engine"):
        solo.alone("ours-engine", setup, frames_of(2, 40, 51))


def test_a_process_that_the_system_ends_is_a_reason(exported: Export, tmp_path: Path, monkeypatch: Any) -> None:
    class Pool(solo.ProcessPoolExecutor):
        def submit(self, *arguments: Any) -> Any:
            raise BrokenProcessPool

    monkeypatch.setattr(solo, "ProcessPoolExecutor", Pool)
    setup = Setup(exported("torchvision fcn"), (1, 40, 51), threads=1, folder=tmp_path)
    with pytest.raises(CannotRun, match="want of memory"):
        solo.alone("ours", setup, frames_of(1, 40, 51))


def test_frames_exceed_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_pool, "cache_nbytes", lambda: 1 << 20)
    count = frame_pool.pool_size(65, 97)
    assert count * 65 * 97 * 3 > 1 << 20 and frame_pool.pool_size(4000, 6000) == 4


def test_generated_frames_differ() -> None:
    frames = frame_pool.frame_pool("scenes", 33, 47, 5)
    assert len({frame.tobytes() for frame in frames}) == 5
    assert all(frame.shape == (1, 33, 47, 3) and frame.dtype == np.uint8 for frame in frames)


def test_few_pictures_come_again_in_memory_of_their_own(tmp_path: Path) -> None:
    pictures = frames_of(2, 33, 47)
    for index, frame in enumerate(pictures):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    frames = frame_pool.frame_pool(str(tmp_path), 33, 47, 5)
    np.testing.assert_array_equal(frames[1][0], pictures[1])
    np.testing.assert_array_equal(frames[2][0], pictures[0][:, ::-1])
    np.testing.assert_array_equal(frames[4][0], pictures[0])
    assert not any(np.shares_memory(frames[4], other) for other in frames[:4])
    assert frame_pool.frame_pool(str(tmp_path), 20, 31, 1)[0].shape == (1, 20, 31, 3)
    assert len(frame_pool.decode_ms(str(tmp_path), 10)) == 2


def test_drawn_frames_are_not_decoded() -> None:
    with pytest.raises(MediaError, match="name files by --frames"):
        frame_pool.decode_ms("scenes", 3)
