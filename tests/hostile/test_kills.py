"""kill -9 at random moments of writing: the old file or the new one, whole; the next run clears what was begun.

The variable KILLS says how often each kind is killed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import torch

from exports import Export
from fcnrt.backends import read_model
from fcnrt.contract import files
from fcnrt.contract.sidecar import read_sidecar
from places import ROOT
from tiny_networks import tiny, upstream_state

KILLS = int(os.environ.get("KILLS", 0))
SCRIPT = ROOT / "tests/helpers/killed.py"

SLOW = pytest.mark.skipif(not KILLS, reason="takes minutes: KILLS=50")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")


def run_and_kill(kind: str, target: Path, *source: Path, wait_s: Callable[[float], float]) -> None:
    """Kill a process some time after it has written its file once."""
    command = [sys.executable, SCRIPT, kind, target, *source]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        while process.stdout.readline() not in (b"done\n", b""):
            pass
        first_s = time.monotonic() - begun
        time.sleep(wait_s(first_s))
        process.kill()


def left_in(folder: Path) -> list[Path]:
    return list(folder.glob(f"{files.PART}*"))


@pytest.mark.parametrize("kind", ["facts", "video"])
def test_files_are_old_or_new_and_whole(kind: str, tmp_path: Path) -> None:
    target = tmp_path / {"facts": "facts.json", "video": "film.mp4"}[kind]
    for _ in range(KILLS or 4):
        run_and_kill(kind, target, wait_s=lambda first_s: random.uniform(0, 0.3))
        if kind == "facts":
            assert len(json.loads(target.read_text())["numbers"]) == 20_000
            continue
        with av.open(str(target)) as container:
            assert len(list(container.decode(video=0))) == 60
    if kind == "facts":
        files.discard_left_behind.cache_clear()
        files.write_json(target, {})
        assert not left_in(tmp_path)


@SLOW
def test_exports_are_old_or_new_and_whole(tmp_path: Path) -> None:
    checkpoint, target = tmp_path / "net.pth", tmp_path / "net.onnx"
    torch.save(upstream_state(tiny("torchvision fcn")), checkpoint)
    for _ in range(KILLS):
        run_and_kill("export", target, checkpoint, wait_s=lambda first_s: random.uniform(0, first_s / 2))
        assert read_model(target).sealed
    files.discard_left_behind.cache_clear()
    files.discard_left_behind(tmp_path, ".onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.pth"]


@SLOW
def test_engines_are_old_or_new_and_whole(exported: Export, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    target, source = tmp_path / "net.engine", exported("torchvision fcn", "--precision", "fp16")
    for _ in range(KILLS):
        run_and_kill("build", target, source, wait_s=lambda first_s: random.uniform(0, first_s / 2))
        assert read_sidecar(target).plan()


def test_only_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    ours = files.part_name(tmp_path / "net.onnx")
    dead = tmp_path / ours.name.replace(f"-{os.getpid()}-", f"-{process.pid}-")
    elsewhere = tmp_path / f"{files.PART}00000000-{process.pid}-01234567.onnx"
    video, old = dead.with_suffix(".mp4"), tmp_path / f"{files.PART}01234567.onnx"
    for part in (ours, dead, elsewhere, video, old):
        part.touch()
    files.discard_left_behind(tmp_path, ".onnx")
    assert set(left_in(tmp_path)) == {ours, elsewhere, video, old}
