"""What `fcnrt segment` gives beside files, events and a page for browsers, and of which frames and classes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fcnrt
from exports import Export
from fcnrt.cli.main import main
from fcnrt.pictures.writing import write_image
from fcnrt.video import open_source
from network_names import CLASSES

PATIENCE_S = 60
LIVE = "test-live:98x134@25"


@pytest.fixture(scope="module")
def model(exported: Export) -> str:
    return str(exported("torchvision fcn"))


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, interrupted at the end of the block."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fcnrt.__file__).parents[1])}
    command = [sys.executable, "-m", "fcnrt", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as aside:
        try:
            yield aside
        finally:
            aside.send_signal(signal.SIGINT)
            aside.wait(PATIENCE_S)


def ask(address: str) -> Any:
    """The figures, once there is a frame."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"{address}stats.json", timeout=PATIENCE_S) as answer:
                told = json.load(answer)
            if told["frame"]:
                return told
        except urllib.error.HTTPError as error:
            assert error.code == 503
            error.close()
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_page_is_served_beside_a_film(model: str, tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="needs the extra 'serve'")
    with running("segment", model, LIVE, "--serve", "0", "-o", tmp_path / "film.mp4") as aside:
        line = aside.stderr.readline()
        address = re.fullmatch(r"fcnrt: watch at (http://127\.0\.0\.1:\d+/)\n", line)[1]
        told = ask(address)
    assert told["input"] == LIVE and sum(each["minute"] for each in told["classes"]) == pytest.approx(1)
    assert told["frames"]["decoded"] >= told["frames"]["delivered"] > 0
    assert aside.returncode == 130 and [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_who_can_watch_is_told(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette", reason="needs the extra 'serve'")
    assert main(["segment", model, "test:98x134@25*2", "--serve", "0.0.0.0:0"]) == 0
    assert re.search(r"whoever reaches this machine's port \d+ can watch; --token keeps", capsys.readouterr().err)
    assert main(["segment", model, "test:98x134@25*2", "--serve", "0.0.0.0:0", "--token", "secret"]) == 0
    error = capsys.readouterr().err
    assert re.fullmatch(r"fcnrt: watch at http://127.0.0.1:\d+/\?token=...\n", error) and "secret" not in error


def test_a_port_that_is_taken_is_one_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette", reason="needs the extra 'serve'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["segment", model, "test:*2", "--serve", str(port)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"127.0.0.1:{port}: cannot listen there: Address already in use" in error


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_what_is_missing_is_told(package: str, model: str, hide_package: Any, capsys: Any) -> None:
    if package != "starlette":  # which is asked for first
        pytest.importorskip("starlette", reason="needs the extra 'serve'")
    hide_package(package)
    assert main(["segment", model, "test:*2", "--serve", "0"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(rf"{package} is needed for this: .*\[serve\]'", error, re.I)


@pytest.mark.parametrize("words", [["--serve", "here"], ["--serve", "0", "--max-clients", "0"]])
def test_wrong_words_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", "m.onnx", "x.mp4", *words])
    assert caught.value.code == 2


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_events_tell_the_shares_of_what_is_labelled(model: str, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert main(["segment", model, "test:61x83@25*7", "--events", str(events), "--confidence", "--every", "3"]) == 0
    told = lines_of(events)
    assert [(each["number"], each["time_s"]) for each in told] == [(0, 0.0), (3, 0.12), (6, 0.24)]
    with fcnrt.Segmenter(model, color="rgb") as segment, open_source("test:61x83@25*7") as source:
        for each, frame in zip(told, list(source)[::3], strict=True):
            confidence = np.empty((61, 83), np.uint8)
            labels = segment(frame.pixels, confidence=confidence)
            for index, name in enumerate(segment.classes):
                here = labels == index
                assert each["shares"][name] == pytest.approx(here.mean(), abs=1e-6)
                sure = confidence[here].mean() / 255 if here.any() else None
                assert each["confidence"][name] == (sure if sure is None else pytest.approx(sure, abs=1e-6))


def test_events_of_pictures_and_films_go_to_one_file(model: str, tmp_path: Path) -> None:
    write_image(tmp_path / "street.png", np.zeros((33, 47, 3), np.uint8))
    events = tmp_path / "events.csv"
    for _ in range(2):
        words = [str(tmp_path / "street.png"), "test:33x47*2", "-o", str(tmp_path / "out"), "--force"]
        assert main(["segment", model, *words, "--events", str(events), "--only", "class 1"]) == 0
    head, *rows = events.read_text("utf-8").splitlines()
    assert head == "input,number,time_s,utc,share class 1"
    assert [row.split(",")[0] for row in rows] == 2 * [str(tmp_path / "street.png"), "test:33x47*2", "test:33x47*2"]


def test_events_on_the_standard_output_are_alone_there(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", model, "test:33x47*3", "--events", "-"]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["number"] for line in printed.out.splitlines()] == [0, 1, 2]
    assert printed.err.startswith("3 frames in ")


def test_a_region_is_labelled_and_the_rest_is_void(model: str, tmp_path: Path) -> None:
    frame = next(iter(open_source("test:61x83*1"))).pixels
    write_image(tmp_path / "street.png", frame)
    words = ["-o", str(tmp_path / "out"), "--roi", "7,11,47,39", "--alpha", "0.9", "--boundaries"]
    assert main(["segment", model, str(tmp_path / "street.png"), *words]) == 0
    picture = Image.open(tmp_path / "out/street_labels.png")
    labels, drawn = np.asarray(picture), np.asarray(Image.open(tmp_path / "out/street_overlay.png"))
    inside = np.zeros((61, 83), bool)
    inside[11:50, 7:54] = True
    with fcnrt.Segmenter(model, color="rgb") as segment:
        assert np.array_equal(labels[11:50, 7:54], segment(frame[11:50, 7:54]))
    assert (labels[~inside] == 255).all() and picture.getpalette()[-3:] == [0, 0, 0]
    far = inside.copy()
    far[10:51, 6:55] = True  # lines
    assert np.array_equal(drawn[~far], frame[~far]) and not np.array_equal(drawn[inside], frame[inside])


def test_a_region_outside_is_one_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", model, "test:61x83*3", "--events", "-", "--roi", "0,0,100,40"]) == 1
    error = capsys.readouterr().err
    assert "test:61x83*3: region: expected one within the frame of 83x61 pixels, got 0,0,100,40 (X,Y,W,H)" in error


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--only", "CLASS 2", "0"], ["class 0", "class 2"]),
        (["--ignore", "class 0", "class 2"], ["class 1", "class 3", "class 4", "class 5", "class 6"]),
    ],
)
def test_classes_by_name_or_number(
    words: list[str], names: list[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", model, "test:33x47*1", "--events", "-", *words]) == 0
    assert list(json.loads(capsys.readouterr().out)["shares"]) == names


def test_a_class_that_the_model_has_not_is_one_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", model, "test:33x47*1", "--events", "-", "--only", "clas 3"]) == 1
    expected = "fcnrt: --only: expected a class of the model, got 'clas 3'; did you mean 'class 3'?\n"
    assert capsys.readouterr().err == expected
    assert main(["segment", model, "test:33x47*1", "--events", "-", "--ignore", "7"]) == 1
    assert "got '7'; it has class 0, class 1, class 2" in capsys.readouterr().err


def test_classes_that_are_ignored_show_the_frame(model: str, tmp_path: Path) -> None:
    frame = next(iter(open_source("test:61x83*1"))).pixels
    write_image(tmp_path / "a.png", frame)
    ignored = ["--ignore", *(f"class {index}" for index in range(CLASSES))]
    assert main(["segment", model, str(tmp_path / "a.png"), "-o", str(tmp_path / "o.png"), "--overlay", *ignored]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), frame)


def test_an_input_ends_after_a_time(model: str, tmp_path: Path) -> None:
    assert main(["segment", model, "test:33x47@25", "-o", str(tmp_path / "film.mp4"), "--for", "0.4s"]) == 0
    with open_source(tmp_path / "film.mp4") as film:
        assert len(list(film)) == 10


@pytest.mark.parametrize(
    "words",
    [
        ["--roi", "1,2,3"],
        ["--roi", "0,0,0,4"],
        ["--every", "0"],
        ["--for", "soon"],
        ["--for", "-1h"],
        ["--only", "a", "--ignore", "b"],
        ["-o", "-", "--events", "-"],
    ],
)
def test_wrong_selections_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", "m.onnx", "x.mp4", "-o", "y.mp4", *words])
    assert caught.value.code == 2


def test_films_in_parts_have_the_time_in_their_names_and_stay_after_a_restart(model: str, tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"yesterday's")
    words = ["segment", model, "test:33x47@25*60", "-o", str(tmp_path / "film.mkv"), "--segment-time", "1s"]
    for runs in (1, 2):
        assert main(words) == 0
        parts = sorted(path for path in tmp_path.iterdir() if path.name != "film.mkv")
        assert len(parts) == 3 * runs
        assert all(re.fullmatch(r"film_\d{8}T\d{6}Z(_\d+)?\.mkv", path.name) for path in parts)
    assert (tmp_path / "film.mkv").read_bytes() == b"yesterday's"
    lengths = []
    for part in parts:
        with open_source(part) as film:
            times = [float(frame.time) for frame in film]
        lengths.append(len(times))
        assert times == pytest.approx([index / 25 for index in range(len(times))], abs=0.002)
    assert sorted(lengths) == [10, 10, 25, 25, 25, 25]


def test_a_film_in_parts_never_takes_an_inputs_place(model: str, tmp_path: Path) -> None:
    assert main(["segment", model, "test:33x47@25*3", "-o", str(tmp_path / "in.mp4")]) == 0
    words = [str(tmp_path / "in.mp4"), "-o", str(tmp_path / "in.mp4"), "--segment-time", "1m"]
    assert main(["segment", model, *words]) == 1


def test_label_pictures_are_not_films_in_parts(model: str, tmp_path: Path) -> None:
    words = ["segment", model, "test:33x47@25*3", "-o", str(tmp_path / "out"), "--labels", "--segment-time", "1m"]
    assert main(words) == 0
    assert main(words) == 1  # yesterday's would be lost
    assert len(list((tmp_path / "out/test_labels").iterdir())) == 3
