"""The rules of the house: who may import what, what the package holds, what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fcnrt

ROOT = Path(__file__).parents[1]
RUNTIME = ROOT / "runtime/fcnrt"


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The top names of all modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
    return names


def modules_of(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob("*.py")} | {
        path.parent.name for path in (ROOT / folder).glob("*/__init__.py")
    }


@pytest.mark.parametrize("path", sorted((ROOT / "export").rglob("*.py")), ids=lambda path: path.name)
def test_export_imports_neither_the_runtime_nor_the_benchmarks(path: Path) -> None:
    assert not imported(path) & ({"fcnrt"} | (modules_of("benchmarks") - modules_of("export")))


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.name)
def test_runtime_imports_no_training_framework_and_nothing_of_the_scripts(path: Path) -> None:
    scripts = (modules_of("export") | modules_of("benchmarks")) - {"errors"}
    assert not imported(path) & ({"torch", "torchvision", "triton", "cupy"} | scripts)


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.name)
def test_runtime_modules_load_with_numpy_alone(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy"}
    assert imported(path, top_level_only=True) <= allowed


def test_import_in_a_fresh_process_loads_numpy_alone() -> None:
    code = "import sys; old = set(sys.modules); import fcnrt; print(*{m.split('.')[0] for m in set(sys.modules) - old})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "runtime", capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split()) - set(sys.stdlib_module_names)
    assert {name for name in loaded if not name.startswith("_")} == {"fcnrt", "numpy"}


def test_module_names_are_unique_and_shadow_nothing() -> None:
    export, benchmarks = modules_of("export"), modules_of("benchmarks")
    assert not export & benchmarks
    assert not (export | benchmarks) & {"onnx", "onnxruntime", "tensorrt", "torch", "torchvision", "triton", "cuda"}
    assert not (export | benchmarks) & set(sys.stdlib_module_names)


def test_public_names() -> None:
    assert fcnrt.__all__ == sorted(fcnrt.__all__)
    public = {name for name in vars(fcnrt) if not name.startswith("_")}
    submodules = {path.stem for path in RUNTIME.glob("*.py")} | {"backends", "video"}
    assert public - submodules == set(fcnrt.__all__) - submodules
    assert all(getattr(fcnrt, name).__doc__ for name in fcnrt.__all__)


def test_no_file_outgrows_one_reading() -> None:
    lengths = {path: len(path.read_text().splitlines()) for folder in ("export", "runtime", "benchmarks")
               for path in (ROOT / folder).rglob("*.py")}  # fmt: skip
    assert {str(path): length for path, length in lengths.items() if length > 420} == {}
