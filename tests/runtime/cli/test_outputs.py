"""What `fcnrt segment` gives beside files: a page for browsers."""

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

import pytest

import fcnrt
from exports import Export
from fcnrt.cli.main import main

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
    hide_package(package)
    assert main(["segment", model, "test:*2", "--serve", "0"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'fcnrt[serve]'" in error


@pytest.mark.parametrize("words", [["--serve", "here"], ["--serve", "0", "--max-clients", "0"]])
def test_wrong_words_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", "m.onnx", "x.mp4", *words])
    assert caught.value.code == 2
