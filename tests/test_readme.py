"""README keeps its promises: its commands parse, its Python runs, its files exist, its figures come from results."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from exports import Export
from fcn_bench.commands import latency, parity, report, train, video_rate
from fcn_bench.report.markdown import contest_tables
from fcn_export.commands import build_engine, to_onnx
from fcn_export.graph.verify import textured_frames
from fcnrt.cli.main import _parser as runtime_parser
from fcnrt.video import VideoWriter, open_source
from places import ROOT
from tiny_networks import tiny

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.S)
INLINE = re.findall(r"`((?:python |fcnrt |make )[^`]*)`", README)


def commands() -> list[str]:
    """Every command that README shows: prompts of sessions, lines of sh blocks, inline code."""
    lines = [line for kind, block in BLOCKS if kind in ("sh", "console") for line in block.splitlines()]
    prompts = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    plain = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line]
    return [re.split(r"  #| > ", line)[0].strip() for line in (*prompts, *plain, *INLINE)]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_command_is_one_that_we_have(command: str) -> None:
    program, *arguments = shlex.split(command)
    scripts = {
        "export/to_onnx.py": to_onnx,
        "export/build_engine.py": build_engine,
        "benchmarks/parity.py": parity,
        "benchmarks/train.py": train,
        "benchmarks/latency.py": latency,
        "benchmarks/report.py": report,
        "benchmarks/video_rate.py": video_rate,
    }
    if program.endswith("python") and arguments[0] in scripts:
        scripts[arguments[0]]._parser().parse_args(arguments[1:])
    elif program.endswith("fcnrt"):
        runtime_parser().parse_args(arguments)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{target}:", makefile, flags=re.M) for target in arguments)
    elif program == "pip":
        extras = re.findall(r"\[(.*)\]", command)
        assert all(
            f"\n{extra} =\n" in (ROOT / "setup.cfg").read_text() for extra in ",".join(extras).split(",") if extra
        )
    else:
        assert program.endswith("python") and (ROOT / arguments[0]).is_file()


def test_python_example_runs(exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(exported("caffe fcn8s"), tmp_path / "fcn8s.onnx")
    monkeypatch.chdir(tmp_path)
    example, video_example = (block for kind, block in BLOCKS if kind == "python")
    frames = list(textured_frames(3, 40, 51, seed=0).numpy())
    names = {"frame": frames[0], "frames": frames}
    exec(compile(example, "README.md", "exec"), names)
    assert names["labels"].shape == (40, 51) and names["labels"].dtype == np.uint8
    assert names["picture"].shape == (40, 51, 3)
    with VideoWriter("street.mp4", 25, (40, 51)) as writer:
        for frame in frames:
            writer.write(frame)
    exec(compile(video_example, "README.md", "exec"), names)
    with open_source("overlay.mp4") as made:
        assert sum(1 for _ in made) == 3


def test_refusal_is_printed_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(tiny("caffe fcn8s").state_dict(), tmp_path / "model_best.pth.tar")
    monkeypatch.chdir(tmp_path)
    assert to_onnx.main(["model_best.pth.tar"]) == 1
    assert f"export/to_onnx.py model_best.pth.tar\n{capsys.readouterr().err}" in README


def test_table_of_the_last_step_quotes_the_committed_results() -> None:
    results = json.loads((ROOT / "benchmarks/results/tail-cpu.json").read_text())
    measured = {
        (row["case"]["kind"], row["case"]["stride"], row["case"]["height"], row["case"]["content"]): row
        for row in results["rows"]
    }
    kinds = {"half-pixel": "half_pixel", "align-corners": "align_corners", "deconvolution": "deconv"}
    quoted = re.findall(
        r"^\| (.*) \| (\d+)x\d+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, flags=re.M
    )
    assert len(quoted) >= 8
    for name, height, *figures in quoted:
        kind, _, rest = name.partition(", ")
        stride = int(rest.split()[1].strip(",")) if rest else 1
        row = measured[kinds.get(kind, "none"), stride, int(height), "noise" if "noise" in name else "scene"]
        times = [row["median_ms"][contender] for contender in ("fcnrt", "onnxruntime", "torch")]
        best = min(row["times_ours"][rival][0] for rival in ("onnxruntime", "torch"))
        assert figures == [f"{value:.1f}" for value in (*times, best)]


def test_latency_tables_quote_the_committed_results() -> None:
    results = {path.name: json.loads(path.read_text()) for path in (ROOT / "benchmarks/results").glob("latency-*.json")}
    measured = {table for result in results.values() for table in contest_tables(result)}
    quoted = re.findall(r"^\| [^\n|]*\.onnx, \d+x\d+ \|.*(?:\n\|.*)+", README, flags=re.M)
    assert quoted and set(quoted) <= measured
    assert all(f"latency-{table.split('.onnx')[0].removeprefix('| ')}.json" in README for table in quoted)


def test_pipeline_figures_are_the_committed_ones() -> None:
    rows = json.loads((ROOT / "benchmarks/results/video-rate.json").read_text())["rows"]
    text = " ".join(README.split())
    for row in rows:
        assert f"at {row['of_slowest_stage']['median']:.2f} " in text and row["size"] == [480, 640]
    assert len(rows) == 2 and "waits 20 ms" in {row["network"] for row in rows}


def test_training_figure_is_the_curves_best() -> None:
    with (ROOT / "benchmarks/results/train-camvid.csv").open() as file:
        epochs = list(csv.DictReader(file))
    best = max(float(epoch["miou"]) for epoch in epochs)
    minutes = sum(float(epoch["seconds"]) for epoch in epochs) / 60
    text = " ".join(README.split())
    assert f"reached mIoU {best:.3f} on all 101 validation frames in {minutes:.0f} minutes" in text
    assert f"({len(epochs)} epochs, bfloat16;" in text


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_linked_file_exists(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("name", re.findall(r"^  (\w+\.py)|  (\w+\.py)   ", README, flags=re.M))
def test_module_in_the_map_exists(name: tuple[str, str]) -> None:
    assert any(ROOT.rglob(name[0] or name[1]))


def test_soak_figures_are_the_recorded_ones() -> None:
    record = (ROOT / "benchmarks/results/soak-cpu.txt").read_text()
    frames = max(int(count) for count in re.findall(r"^(\d+) frames in", record, flags=re.M))
    growth_mb = [float(figure) for figure in re.findall(r"memory grew by ([\d.]+) MB", record)]
    assert f"{frames:,} frames of a file" in README and "through 20 kills" in README and "20 reconnections" in record
    text = " ".join(README.split())
    assert f"memory grew by {min(growth_mb):.0f} to {max(growth_mb):.0f} MB" in text and len(growth_mb) == 3
