"""The last step alone: every contender labels as the reference does; no time is judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fcn_bench.commands import tail
from fcn_bench.speed import tail as measuring
from fcn_bench.speed import tail_scores
from fcn_bench.speed.tail_scores import CLASSES, Case


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "SIZES", ((61, 83), (40, 51)))
    monkeypatch.setattr(tail_scores, "cache_nbytes", lambda: 1 << 12)


@pytest.mark.parametrize(("kind", "stride"), [("half_pixel", 8), ("align_corners", 8), ("deconv", 32), ("none", 1)])
def test_contenders_label_alike(kind: str, stride: int) -> None:
    row = measuring.measure(Case(kind, stride, 61, 83), rounds=1, threads=1)
    assert row["absent"] == {} and set(row["median_ms"]) == {"fcnrt", "onnxruntime", "torch", "numpy"}
    assert min(row["equal_to_reference"].values()) > 0.999 and row["equal_to_reference"]["fcnrt"] == 1


def test_scores_look_like_a_networks() -> None:
    case = Case("half_pixel", 8, 240, 321)
    scores = tail_scores.make_scores(case)
    assert scores[0].shape == (1, CLASSES, *case.scores_size) and scores[0].dtype == np.float32
    assert 0.02 < measuring.mixed_share(scores) < 0.6


def test_a_run_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tail.main(["--rounds", "1", "--threads", "1", "--quick"]) == 0
    result = json.loads((tmp_path / "results/tail.json").read_text())
    assert result["command"] == ["benchmarks/tail.py", "--rounds", "1", "--threads", "1", "--quick"]
    assert len(result["rows"]) == 5 and capsys.readouterr().out.count("best of onnxruntime and torch") == 5
