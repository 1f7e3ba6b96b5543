"""The runtime's tests on other Pythons, with the newest packages there are.

Each Python gets an environment of its own, without constraints and without torch; the tests take the exported files
that this Python, which has torch, makes of the tiny networks. What passed with which versions goes into
docs/pythons.md. Pythons are found as pythonX.Y on the PATH or among pyenv's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build/compatibility"
MODELS = FOLDER / "models"
PAGE = ROOT / "docs/pythons.md"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
INSTALLED = (
    ".[cpu,openvino,video,serve,fonts]",
    "opencv-python-headless",
    "pytest",
    "pytest-timeout",
    "rtsp",
    "cuda-bindings",
    "cuda-core",
)
SHOWN = ("numpy", "onnx", "onnxruntime", "av", "pillow", "cuda-bindings")
TESTS = ("tests/runtime",)
HEAD = """# Pythons and packages

`make compatibility` runs the tests of the runtime (`tests/runtime`, without those that need torch) on each Python that
it finds, in an environment of its own with the newest packages, without constraints. What passed the last time:

"""


def main(versions: list[str]) -> int:
    shutil.rmtree(MODELS, ignore_errors=True)  # files of an older exporter would be tested with a newer runtime
    MODELS.mkdir(parents=True)
    print("exporting the tiny networks", flush=True)
    tested(sys.executable, FOLDER / "here.xml")
    rows = []
    for version in versions or PYTHONS:
        python = found(version)
        rows.append((version, *(outcome(python, version) if python else ("not found here",))))
    PAGE.write_text(HEAD + "\n".join(table(rows)) + "\n", encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}")
    return int(any("failed" in cell and " 0 failed" not in cell for row in rows for cell in row))


def found(version: str) -> str | None:
    """A Python of that version that runs."""
    for python in candidates(version):
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([python, "-c", asked], capture_output=True, text=True)
        if answer.stdout.strip() == version:
            return python
    return None


def candidates(version: str) -> Iterator[str]:
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        yield from map(str, sorted(Path(root).glob(f"versions/{version}*/bin/python"), reverse=True))


def outcome(python: str, version: str) -> tuple[str, ...]:
    """What the tests gave in a new environment of that Python, and the versions in it."""
    environment = FOLDER / version
    print(f"Python {version}: installing", flush=True)
    subprocess.run([python, "-m", "venv", "--clear", environment], check=True)
    inside = environment / "bin/python"
    pip = [inside, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", "--quiet", *INSTALLED], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return (f"failed to install: {done.stderr.strip().splitlines()[-1]}",)
    print(f"Python {version}: testing", flush=True)
    return tested(inside, FOLDER / f"{version}.xml"), *shown(inside)


def tested(python: str | Path, report: Path) -> str:
    """How many tests passed, failed and were skipped."""
    report.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *TESTS]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "FCNRT_TEST_MODELS": str(MODELS)})
    if not report.exists():
        return "failed to run"
    suite = next(ET.parse(report).iter("testsuite"))
    total, failed, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "skipped"))
    failed += int(suite.get("errors", 0))
    return f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped"


def shown(python: Path) -> list[str]:
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    return subprocess.run([python, "-c", code, *SHOWN], capture_output=True, text=True).stdout.split()


def table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    header = ("Python", "tests", *SHOWN)
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield f"| {' | '.join((*row, *('' for _ in header[len(row) :])))} |"
