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
from datetime import date
from pathlib import Path

from extent import EXTENTS, extent
from report import rewritten
from summary import Row, tried

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
TESTS = {
    "some": (  # what leans on packages: arrays, files, engines, decoders, servers
        *(f"tests/runtime/{folder}" for folder in ("contract", "gpu", "ops", "pictures", "serving/test_inference.py")),
        *(f"tests/runtime/backends/test_{name}.py" for name in ("choice", "int8_rewrite", "openvino", "recent")),
        *(f"tests/runtime/video/sources/test_{name}.py" for name in ("av_reader", "opencv_reader", "stills")),
        "tests/runtime/video/sinks/test_av_writer.py",
        "tests/runtime/cli/test_commands.py",
        "tests/runtime/test_segmenter.py",
    ),
    "all": ("tests/runtime",),
}
assert tuple(TESTS) == EXTENTS


def main(versions: list[str]) -> list[Row]:
    """The tests on these Pythons; on all that are known, with the page, where none is named."""
    choice = extent()
    here = tried("this Python", lambda: exported(choice))
    if here.failed:
        return [here]
    rows = [tried(version, lambda version=version: row(version, choice)) for version in versions or PYTHONS]  # type: ignore[misc]
    print("\n".join(table(rows)))
    if not versions:
        write_page(choice, rows)
    return [here, *rows]


def write_page(choice: str, rows: list[Row]) -> None:
    intro = f"On {date.today().isoformat()}, x86-64 Linux, a CPU, {choice} of the tests:"
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), [intro, "", *table(rows)]), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


def exported(choice: str) -> Row:
    """The tests on this Python, which leave the exported files that they take."""
    shutil.rmtree(MODELS, ignore_errors=True)  # files of an older exporter would be tested with a newer runtime
    MODELS.mkdir(parents=True)
    print("exporting the tiny networks", flush=True)
    told = tested(sys.executable, FOLDER / "here.xml", choice)
    return Row("this Python", told, has_failed(told))


def row(version: str, choice: str) -> Row:
    """What the tests gave on a Python, and the versions of packages there."""
    python = found(version)
    told, *more = outcome(python, version, choice) if python else ("not found here",)
    return Row(version, told, has_failed(told), tuple(more))


def has_failed(told: str) -> bool:
    return "failed" in told and ", 0 failed" not in told


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


def outcome(python: str, version: str, choice: str) -> tuple[str, ...]:
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
    return tested(inside, FOLDER / f"{version}.xml", choice), *shown(inside)


def tested(python: str | Path, report: Path, choice: str) -> str:
    """How many tests passed, failed and were skipped."""
    report.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *TESTS[choice]]
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


def table(rows: list[Row]) -> Iterator[str]:
    header = ("Python", "tests", *SHOWN)
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for row in rows:
        cells = (row.name, row.told, *row.more)
        yield f"| {' | '.join((*cells, *('' for _ in header[len(cells) :])))} |"
