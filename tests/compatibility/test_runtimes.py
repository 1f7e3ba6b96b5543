"""What `make compatibility` says of other runtimes, on one network in the runtime that is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import files
import report
import runtimes
from environments import NotInstalled
from processes import run
from report import BEGIN, END, cell, page_with, remarks
from runtimes import HERE, Outcome, Runtime

NETWORK = "tramac fcn32s"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runtimes") / "files"
    files.main(made, (NETWORK,))
    return made


def lines(*arguments: str | Path) -> list[dict[str, Any]]:
    done = run(*arguments, folder=HERE)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_files_of_a_network_are_labelled_exactly_in_the_runtime_at_hand(folder: Path) -> None:
    names = sorted(path.name for path in folder.glob("*.onnx"))
    assert names == sorted(
        f"{kind}.onnx"
        for kind in (
            f"fp32, {NETWORK}",
            f"fp16, {NETWORK}",
            f"fp32 fixed, {NETWORK} 65x97",
            f"fp32 fixed, {NETWORK} 45x61",
            f"fp16 fixed, {NETWORK} 65x97",
        )
    )
    made = lines(HERE / "inside.py", "onnxruntime", folder, *names)
    assert [line["file"] for line in made] == names
    assert {share for line in made for share in line["shares"].values()} == {1.0}
    assert list(made[names.index(f"fp32, {NETWORK}.onnx")]["shares"]) == [
        "x".join(map(str, shape)) for shape in files.FREE if min(shape[1:]) >= 32
    ]


def test_what_a_runtime_refuses_and_what_it_labels_otherwise_is_told(folder: Path, tmp_path: Path) -> None:
    good = folder / f"fp32 fixed, {NETWORK} 45x61.onnx"
    with np.load(good.with_suffix(".npz")) as cases:
        frames, labels = cases["1x45x61"], cases["1x45x61 labels"]
    for name, model, expected in (
        ("refused", b"no model", labels),
        ("wrong", good.read_bytes(), labels + 1),
        ("misshapen", good.read_bytes(), labels[:, 1:]),
    ):
        (tmp_path / f"{name}.onnx").write_bytes(model)
        np.savez(tmp_path / f"{name}.npz", **{"1x45x61": frames, "1x45x61 labels": expected})
    names = ("refused.onnx", "wrong.onnx", "misshapen.onnx")
    refused, wrong, misshapen = lines(HERE / "inside.py", "onnxruntime", tmp_path, *names)
    assert "InvalidProtobuf" in refused["shares"]["every shape"]
    assert wrong["shares"] == {"1x45x61": 0.0}
    assert misshapen["shares"] == {"1x45x61": "labels of the shape (1, 45, 61), expected (1, 44, 61)"}


def test_a_runtime_that_ends_the_process_loses_that_file_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dies.py"
    program.write_text(
        "import json, os, sys\n"
        "for name in sys.argv[1:]:\n"
        "    if name.startswith('fp16'): os._exit(3)\n"
        "    print('noise'); print(json.dumps({'file': name, 'shares': {'1x45x61': 1.0}}), flush=True)\n"
    )
    monkeypatch.setattr(runtimes, "FILES", folder)
    monkeypatch.setattr(runtimes, "FOLDER", tmp_path)
    outcome = Outcome("This 1.0", "3.11", runtimes.labelled([sys.executable, str(program)]))
    cells = [cell(report.of_group(outcome, group)) for group in report.GROUPS]
    assert cells == ["exact", "exact", "refused", "refused", "", ""]
    assert list(remarks([outcome])) == [
        f"- This 1.0: `the process ended with status 3`: fp16 fixed, {NETWORK} 65x97; fp16, {NETWORK}"
    ]


def test_a_cell_counts_and_never_rounds_up() -> None:
    exact, near, refused = {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.99999}, {"a": 1.0, "b": "no"}
    assert cell({"x": exact, "y": near}) == "1 exact, 1 99.99 % or more"
    assert cell({"x": exact, "y": refused}) == "1 exact, 1 refused"
    assert cell({"x": near}) == "99.99 % or more" and cell({"x": near, "fp32, y": {"a": 0.5}}).endswith(", 1 wrong")
    assert cell({"x": near, "y": refused}) == "1 99.99 % or more, 1 refused"


def test_wrong_labels_are_named_with_their_sizes() -> None:
    outcome = Outcome(
        "That 2", "3.8", {"fp32, a.onnx": {"1x1x1": 1.0, "1x33x47": 0.5}, "int8, a.onnx": {"1x1x1": 0.95}}
    )
    assert list(remarks([outcome])) == ["- That 2: wrong labels: fp32, a (1x33x47 50.00 % equal)"]


def test_errors_are_told_in_one_line_without_what_is_of_one_machine() -> None:
    outcome = Outcome("That 2", "3.8", {"fp32, a.onnx": {"every shape": "bad /home/x/y.cpp:3 `z` #12 at 0x7f3a\nmore"}})
    assert list(remarks([outcome])) == ["- That 2: `bad y.cpp:3 z at 0x\N{HORIZONTAL ELLIPSIS}`: fp32, a"]


def test_the_page_keeps_what_people_wrote_around_the_table() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nmore\n"
    made = page_with([Outcome("A 1", "3.8", {"fp32, a.onnx": {"1": 1.0}}), Outcome("b==2", reason="no wheel")], page)
    assert made.startswith(f"# Title\n\n{BEGIN}\n") and made.endswith(f"{END}\n\nmore\n") and "old" not in made
    assert "| A 1 | 3.8 | exact |" in made and "| b==2 |  | not run: no wheel |" in made
    assert page_with([], made).count(BEGIN) == 1


def test_what_cannot_be_installed_is_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise NotInstalled("no wheel")

    monkeypatch.setattr(runtimes, "python_with", refuse)
    assert runtimes.run(Runtime("A {a}", "onnxruntime", ("a==9",))) == Outcome("a==9", reason="no wheel")


def test_an_unknown_runtime_is_refused_with_those_that_are_known() -> None:
    done = run(HERE, "runtimes", "onnxruntime==0.1", folder=HERE)
    assert (
        done.returncode == 1
        and "expected one of onnxruntime==1.12.1, " in done.stderr
        and "Traceback" not in done.stderr
    )
