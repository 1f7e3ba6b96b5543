"""`fcnrt tune` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exports import Export
from fcnrt.backends import tuning
from fcnrt.cli import tune
from fcnrt.cli.main import main


@pytest.fixture
def model(exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tuning, "cache_folder", lambda: tmp_path / "cache")
    return exported("d2l fcn32s")


def kept(tmp_path: Path) -> dict[str, float]:
    (entry,) = json.loads((tmp_path / "cache/tuned.json").read_text()).values()
    return entry["ratios"]


def test_what_is_installed_is_timed_and_kept(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", str(model), "--size", "65x97", "--rounds", "2", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  onnxruntime fp32") and "100.000% of labels equal" in lines[0]
    assert lines[1].startswith("  openvino fp32") and lines[2].startswith("  openvino bf16")
    assert "from now on" in lines[3] and lines[4] == f"kept in {tmp_path}/cache/tuned.json"
    assert kept(tmp_path)["onnxruntime fp32"] == 1.0 and kept(tmp_path)["openvino fp32"] > 0


def test_own_frames(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(model), "test:40x56*2", "-o", str(tmp_path / "film.mp4"), "--device", "cpu"]) == 0
    for words in ([], ["--size", "33x47"]):
        assert main(["tune", str(model), str(tmp_path / "film.mp4"), "--rounds", "1", *words]) == 0
    assert main(["tune", str(model), str(tmp_path / "none.mp4")]) == 1
    assert "none.mp4" in capsys.readouterr().err


def test_a_busy_machine_is_told(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "_load", lambda: 3.2)
    assert main(["tune", str(model), "--size", "33x47", "--rounds", "1"]) == 0
    assert "busy (3.2 processes for each core): tune again when it is not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("openvino", "bfloat", "expected"),
    [
        (0.8, 0.9, "engine auto is openvino from now on"),
        (1.2, 0.5, "engine auto is onnxruntime from now on; --precision bf16 takes 0.50 of its time"),
        (0.8, 0.4, "engine auto is openvino from now on; --precision bf16 takes 0.50 of its time"),
        (0.99, 1.1, "engine auto is onnxruntime from now on"),
    ],
)
def test_the_verdict(openvino: float, bfloat: float, expected: str) -> None:
    ratios = dict(zip(tune.WAYS, (1.0, openvino, bfloat), strict=True))
    assert tune._verdict(ratios, "fp32").partition(", and")[0] == expected


def test_the_verdict_on_int8_files_whose_labels_differ_between_engines() -> None:
    ratios = dict(zip(tune.WAYS, (1.0, 0.7, 0.8), strict=True))
    expected = "engine auto is onnxruntime from now on; --engine openvino takes 0.70 of its time, but rounds"
    assert tune._verdict(ratios, "int8").startswith(expected)
