"""Several live inputs at once, and lists of inputs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fcnrt
from exports import Export
from fcnrt.cli.main import main
from fcnrt.video import open_source

PATIENCE_S = 60


@pytest.fixture(scope="module")
def model(exported: Export) -> str:
    return str(exported("torchvision fcn"))


def test_live_inputs_run_side_by_side(model: str, tmp_path: Path) -> None:
    """Neither would end before its time, and so one behind the other would take both times."""
    events, inputs = tmp_path / "events", ["test-live:33x47@25*40", "test-live:49x67@20*30", "test:33x47*3"]
    words = ["-o", str(tmp_path / "out"), "--events", str(events)]
    assert main(["segment", model, *inputs, *words]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 3
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert {each["input"] for each in told} == set(inputs)
    first_of = {where: next(index for index, each in enumerate(told) if each["input"] == where) for where in inputs}
    last_of = {where: max(index for index, each in enumerate(told) if each["input"] == where) for where in inputs}
    assert first_of[inputs[1]] < last_of[inputs[0]] and first_of[inputs[0]] < last_of[inputs[1]]
    for where in inputs:
        numbers = [each["number"] for each in told if each["input"] == where]
        assert numbers == sorted(set(numbers))


def test_one_that_fails_is_named_and_the_others_go_on(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ["test-live:33x47@25*10", "rtsp://127.0.0.1:9/gone"]
    assert main(["segment", model, *inputs, "-o", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "rtsp://127.0.0.1:9/gone: cannot open" in printed.err
    (made,) = (tmp_path / "out").iterdir()
    with open_source(made) as film:
        assert 0 < len(list(film)) <= int(printed.out.split()[0])  # a slow writer gets the newest


def test_an_interrupt_leaves_whole_files_of_all(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    inputs = ["test-live:33x47@25", "test-live:49x67@25"]
    environment = {**os.environ, "PYTHONPATH": str(Path(fcnrt.__file__).parents[1])}
    command = [sys.executable, "-m", "fcnrt", "segment", model, *inputs, "-o", str(out), "--labels", "--overlay"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as aside:
        until = time.monotonic() + PATIENCE_S
        while len(list(out.glob("*/000009.png"))) < 2:
            assert aside.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        aside.send_signal(signal.SIGINT)
        error = aside.stderr.read().decode()
    assert aside.returncode == 130 and error == "fcnrt: interrupted; the files written so far are whole\n"
    films = list(out.glob("*.mp4"))
    assert len(films) == 2 and not list(out.glob(".fcnrt*"))
    for film in films:
        with open_source(film) as source:
            assert len(list(source)) > 1  # the newest frame wins: a film may have fewer than there are pictures


def test_each_goes_to_an_output_of_its_name(model: str, tmp_path: Path) -> None:
    inputs = ["test-live:33x47@25*5", "test:49x67@25*5"]
    assert main(["segment", model, *inputs, "-o", str(tmp_path / "{name}.mkv")]) == 0
    assert len(list(tmp_path.glob("*.mkv"))) == 2


def test_a_list_of_inputs(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cameras = tmp_path / "cameras.txt"
    cameras.write_text("# the yard\n\n  test:33x47*2  \ntest:49x67*3\n")
    assert main(["segment", model, f"@{cameras}", "--events", "-"]) == 0
    told = [json.loads(line)["input"] for line in capsys.readouterr().out.splitlines()]
    assert told == 2 * ["test:33x47*2"] + 3 * ["test:49x67*3"]


@pytest.mark.parametrize(("text", "message"), [(None, "No such file"), ("# none\n", "expected an input on each line")])
def test_a_list_that_lists_nothing(
    text: str | None, message: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "list").write_text(text)
    assert main(["segment", model, f"@{tmp_path / 'list'}", "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fcnrt: @{tmp_path / 'list'}: ") and message in error


def test_one_window_shows_one_live_input(model: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", model, "test-live:", "camera:0", "--show"])
    assert caught.value.code == 2
