"""A line for each frame: JSON and CSV, continued after a restart, and what goes wrong there."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fcnrt.errors import MediaError
from fcnrt.video.frames import Frame, Labelled
from fcnrt.video.sinks.events import EventLog, Events

CLASSES = ("sky", 'a "car"', "bus, öffentlich")
FILM = SimpleNamespace(name="street.mp4", live=False)
CAMERA = SimpleNamespace(name="camera:0", live=True)


def labelled(number: int = 3, confidence: bool = False) -> Labelled:
    labels = np.zeros((6, 8), np.uint8)
    labels[:3], labels[3, :2] = 1, 255
    made = Labelled(Frame(None, Fraction(number, 30), number, 0.0), labels)
    if confidence:
        made.confidence = np.where(labels == 1, 51, 204).astype(np.uint8)
    return made


def write(where: Path, *frames: Labelled, source: Any = FILM, told: Any = None, confidence: bool = False) -> None:
    names = CLASSES if told is None else [CLASSES[index] for index in told]
    log = EventLog(str(where), names, confidence)
    sink = Events(log, source, CLASSES, told)
    for frame in frames:
        sink.write(sink.draw(frame))
    sink.close()
    log.close()
    log.close()


def test_a_line_of_json_a_frame(tmp_path: Path) -> None:
    write(tmp_path / "events.jsonl", labelled(3), labelled(4))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    assert lines[0] == {
        "input": "street.mp4",
        "number": 3,
        "time_s": 0.1,
        "shares": {"sky": round(22 / 46, 6), 'a "car"': round(24 / 46, 6), "bus, öffentlich": 0.0},
    }
    assert lines[1]["number"] == 4 and lines[1]["time_s"] == 0.133333


def test_confidence_where_it_was_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "e", labelled(confidence=True), confidence=True)
    told = json.loads((tmp_path / "e").read_text("utf-8"))
    assert told["confidence"] == {"sky": 0.8, 'a "car"': 0.2, "bus, öffentlich": None}


def test_some_classes_alone(tmp_path: Path) -> None:
    write(tmp_path / "e", labelled(confidence=True), told=[1], confidence=True)
    told = json.loads((tmp_path / "e").read_text("utf-8"))
    assert told["shares"] == {'a "car"': round(24 / 46, 6)} and told["confidence"] == {'a "car"': 0.2}


def test_frames_of_a_camera_are_told_the_clock(tmp_path: Path) -> None:
    frame = Labelled(Frame(None, Fraction(0), 0, time.monotonic() - 100), labelled().labels)
    write(tmp_path / "e", frame, source=CAMERA)
    told = json.loads((tmp_path / "e").read_text("utf-8"))["utc"]
    moment = datetime.fromisoformat(told.replace("Z", "+00:00"))
    assert told.endswith("Z") and abs((datetime.now(timezone.utc) - moment).total_seconds() - 100) < 60


@pytest.mark.parametrize("confidence", [False, True])
def test_a_table(confidence: bool, tmp_path: Path) -> None:
    write(tmp_path / "e.CSV", labelled(3, confidence), labelled(4, confidence), confidence=confidence)
    with open(tmp_path / "e.CSV", encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    sure = [f"confidence {name}" for name in CLASSES] if confidence else []
    assert head == ["input", "number", "time_s", "utc", *(f"share {name}" for name in CLASSES), *sure]
    assert rows[0][:4] == ["street.mp4", "3", "0.1", ""] and rows[1][1] == "4"
    assert [float(cell) for cell in rows[0][4:7]] == pytest.approx([22 / 46, 24 / 46, 0], abs=1e-6)
    assert rows[0][7:] == (["0.8", "0.2", ""] if confidence else [])


@pytest.mark.parametrize("name", ["e.jsonl", "e.csv"])
def test_a_file_that_is_there_is_continued(name: str, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / name, labelled(number))
    lines = (tmp_path / name).read_text("utf-8").splitlines()
    assert len(lines) == 3 + (name == "e.csv")
    with open(tmp_path / name, "a") as file:
        file.write('{"torn off')
    write(tmp_path / name, labelled(9))
    assert len((tmp_path / name).read_text("utf-8").splitlines()) == len(lines) + 2


def test_a_table_with_other_columns_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("when,what\n1,2\n")
    with pytest.raises(MediaError, match=r"e\.csv: expected the columns input,number,.*, got others; choose another"):
        EventLog(str(tmp_path / "e.csv"), CLASSES)
    assert (tmp_path / "e.csv").read_text() == "when,what\n1,2\n"


@pytest.mark.parametrize("where", ["none/e.jsonl", "."])
def test_a_place_that_cannot_be_written(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match=r"cannot write events there: (No such file|Is a directory)"):
        EventLog(where, CLASSES)


def test_a_full_disk() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full, where writing fails as on a full disk")
    log = EventLog("/dev/full", CLASSES)
    sink = Events(log, FILM, CLASSES)
    with pytest.raises(MediaError, match="/dev/full: cannot write events there: No space left on device"):
        sink.write(sink.draw(labelled()))
    log.close()


def test_lines_of_several_inputs_do_not_mix(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "e"), CLASSES)

    def run(name: str) -> None:
        sink = Events(log, SimpleNamespace(name=name, live=False), CLASSES)
        for number in range(200):
            sink.write(sink.draw(labelled(number)))

    threads = [threading.Thread(target=run, args=(f"camera:{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    told = [json.loads(line) for line in (tmp_path / "e").read_text("utf-8").splitlines()]
    for index in range(4):
        assert [each["number"] for each in told if each["input"] == f"camera:{index}"] == list(range(200))


def test_a_reader_that_goes_away_is_one_line_and_no_noise() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_events import EventLog, Events, MediaError, CLASSES, FILM, labelled\n"
        "sink = Events(EventLog('-', CLASSES), FILM, CLASSES)\n"
        "try:\n"
        "    for number in range(10**6): sink.write(sink.draw(labelled(number)))\n"
        "except MediaError as error:\n"
        "    print(error, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), *sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as aside:
        assert json.loads(aside.stdout.readline())["number"] == 0
        aside.stdout.close()
        assert aside.stderr.read() == b"-: the reader went away\n"
    assert aside.returncode == 0
