"""The benchmark of pipelines: what it measures and writes; not how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exports import Export
from fcn_bench.commands import video_rate
from fcn_bench.report.page import page, read_sources
from fcn_bench.speed.video_rate import StandIn


def test_rows_of_both_networks_and_all_stages(
    exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, result = exported("torchvision fcn"), tmp_path / "results/rate.json"
    words = ["--sizes", "98x131", "--frames", "4", "--iterations", "2", "--wait", "1", "--threads", "1"]
    assert video_rate.main([str(model), *words, "--json", str(result)]) == 0
    written = json.loads(result.read_text())
    assert written["command"][:2] == ["benchmarks/video_rate.py", model.name] and written["environment"]["threads"] == 1
    assert [(row["network"], row["size"], row["frames"]) for row in written["rows"]] == [
        (model.name, [98, 132], 4),  # H.264 has even sizes
        ("waits 1 ms", [98, 132], 4),
    ]
    for row in written["rows"]:
        assert set(row["fps"]) == {"decode", "segment", "draw", "encode", "pipeline", "loop"}
        assert all(fps > 0 for fps in row["fps"].values())
        for ratio in (row["of_slowest_stage"], row["of_loop"]):
            assert 0 < ratio["p10"] <= ratio["median"] <= ratio["p90"]
    shown = page(read_sources([result]))
    assert "a pipeline beside its stages" in shown and "waits 1 ms" in shown
    printed = capsys.readouterr().out
    assert printed.count("of its slowest stage alone") == printed.count("times the plain loop") == 2


def test_the_stand_in_gives_each_frame_the_labels() -> None:
    labels = object()
    assert list(StandIn(labels, 0).stream([1, 2])) == [(1, labels), (2, labels)]


def test_a_missing_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert video_rate.main(["missing.onnx"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("video_rate: missing.onnx: no such file") and error.count("\n") == 1
