"""Every script starts as its users start it: a process of its own, in another folder, without pytest's paths."""

from __future__ import annotations

from pathlib import Path

import pytest

import fcnrt
from places import ROOT
from processes import run

BEFORE_ANYTHING_IS_INSTALLED = "on_gpu.py"


def scripts(*folders: str) -> list[Path]:
    """What may be run of each folder: files with a command line, found by their last lines."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("script", scripts("export", "benchmarks"), ids=lambda path: path.name)
def test_script_prints_its_help(script: Path, tmp_path: Path) -> None:
    done = run(script, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ") and not done.stderr


@pytest.mark.parametrize("script", scripts("examples"), ids=lambda path: path.name)
def test_example_prints_its_help(script: Path, tmp_path: Path) -> None:
    done = run(script, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"python examples/{script.name}" in done.stdout or done.stdout.startswith("usage: ")
    assert not done.stderr


VERSIONED = [path for path in scripts("export", "benchmarks") if path.name != BEFORE_ANYTHING_IS_INSTALLED]


@pytest.mark.parametrize("script", VERSIONED, ids=lambda path: path.name)
def test_script_tells_the_version_of_all(script: Path, tmp_path: Path) -> None:
    if script.name == "on_gpu.py":
        pytest.skip("runs where fcnrt is not installed")
    done = run(script, "--version", folder=tmp_path)
    assert done.returncode == 0 and done.stdout == f"fcnrt {script.stem} {fcnrt.__version__}\n"


@pytest.mark.parametrize("command", ["segment", "info"])
def test_runtime_prints_its_help(command: str, tmp_path: Path) -> None:
    done = run("-m", "fcnrt", command, "--help", folder=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage: ") and not done.stderr
