"""The script for a GPU host, as far as it goes without one: dry runs, steps that fail, what is transferred."""

from __future__ import annotations

from pathlib import Path

import pytest

from places import ROOT
from processes import run

SCRIPT = ROOT / "benchmarks/on_gpu.py"


@pytest.mark.parametrize(("call", "first"), [("1", "tests: "), ("2", "latency-measured: "), ("3", "build-measured: ")])
def test_dry_run_says_what_is_missing(call: str, first: str, tmp_path: Path) -> None:
    done = run(SCRIPT, call, tmp_path / "gpu", "--out", tmp_path / "out", "--dry-run", folder=tmp_path)
    assert done.returncode == 1 and done.stdout.startswith(first)
    assert f"    lacks {tmp_path / 'gpu'}" in done.stdout or "    lacks tensorrt" in done.stdout
    assert not done.stderr and not list((tmp_path / "out").iterdir())


def test_transfers_are_listed_with_their_sizes(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.onnx").write_bytes(bytes(1 << 20))
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(65 << 20)
    lines = run(SCRIPT, "list", tmp_path, folder=tmp_path).stdout.splitlines()
    assert lines[0].split(maxsplit=2) == ["65.0", "MiB", "large.bin  too large for one transfer"]
    assert lines[1].split() == ["1.0", "MiB", "models/a.onnx"] and lines[2].strip().startswith("66.0 MiB in all")


def test_steps_name_files_that_the_repository_has() -> None:
    words = SCRIPT.read_text(encoding="utf-8").replace('"', " ").replace("=", " ").split()
    named = {
        word for word in words if word.endswith(".py") and "/" in word and not word.startswith("benchmarks/on_gpu")
    }
    assert named and all((ROOT / name).is_file() for name in named)
