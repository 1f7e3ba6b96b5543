"""The rules of the house: who may import whom, what the packages hold, what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fcnrt
from places import ROOT

RUNTIME = ROOT / "runtime/fcnrt"
PACKAGES = {"fcnrt": ROOT / "runtime", "fcn_export": ROOT / "export", "fcn_bench": ROOT / "benchmarks"}

# Each wing of the runtime, and the wings that it may import beside itself.
ARROWS = {
    "errors": set(),
    "contract": {"errors"},
    "ops": {"errors", "contract"},
    "gpu": {"errors", "contract", "ops"},
    "backends": {"errors", "contract", "ops", "gpu"},
    "pictures": {"errors", "contract"},
    "segmenter": {"errors", "contract", "ops", "gpu", "backends", "pictures"},
    "video": {"errors", "contract", "gpu", "pictures", "segmenter"},
    "rasters": {"errors", "contract", "pictures", "segmenter"},
    "cluster": {"errors", "contract", "pictures", "segmenter", "video"},
    "serving": {"errors", "contract", "pictures", "segmenter", "video", "fcnrt"},
    "cli": {
        *("errors", "contract", "ops", "backends", "pictures", "segmenter", "video", "rasters", "cluster", "serving"),
        "fcnrt",
    },
    "__main__": {"cli"},
    "fcnrt": {"errors", "contract", "ops", "gpu", "pictures", "segmenter"},  # the face: __init__.py
}


def sources(package: str) -> list[Path]:
    return sorted((PACKAGES[package] / package).rglob("*.py"))


def module_of(path: Path, package: str) -> tuple[str, ...]:
    parts = path.relative_to(PACKAGES[package]).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(path: Path, package: str, top_level_only: bool = False) -> set[str]:
    """The dotted names of all modules and things that a file imports, relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = module_of(path, package)
    here = module if path.name == "__init__.py" else module[:-1]
    names: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            origin = ".".join((*base, *filter(None, [node.module])))
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return names


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def wing(name: str) -> str:
    """Of a dotted name in the runtime; what the face itself defines belongs to the face."""
    second = name.split(".")[1]
    return second if second in ARROWS else "fcnrt"


@pytest.mark.parametrize("path", sources("fcnrt"), ids=lambda path: str(path.relative_to(RUNTIME)))
def test_the_wings_of_the_runtime_import_along_the_arrows(path: Path) -> None:
    module = ".".join(module_of(path, "fcnrt"))
    own = wing(module) if "." in module else "fcnrt"
    used = {wing(name) for name in imported(path, "fcnrt") if name.startswith("fcnrt.")}
    assert used - {own} <= ARROWS[own]


def test_the_arrows_make_no_circle() -> None:
    done: set[str] = set()
    while ready := [name for name in ARROWS.keys() - done if ARROWS[name] <= done]:
        done.update(ready)
    assert done == ARROWS.keys()


@pytest.mark.parametrize("path", sources("fcn_export"), ids=lambda path: path.name)
def test_the_exporter_shares_the_contract_with_the_runtime_and_nothing_else(path: Path) -> None:
    names = imported(path, "fcn_export")
    assert "fcn_bench" not in top(names)
    shared = ("fcnrt.contract.", "fcnrt.errors.", "fcnrt.__version__")
    if path == PACKAGES["fcn_export"] / "fcn_export/quantization/frames.py":
        shared += ("fcnrt.pictures.", "fcnrt.video.")  # calibration sees frames as the runtime will decode them
    if path.parent == PACKAGES["fcn_export"] / "fcn_export/servers/python_models":
        return  # programs of a server, which the exporter copies
    assert all(name.startswith(shared) for name in names if name.split(".")[0] == "fcnrt")


@pytest.mark.parametrize("path", sources("fcnrt"), ids=lambda path: path.name)
def test_the_runtime_imports_no_training_framework_and_nothing_of_the_other_packages(path: Path) -> None:
    forbidden = {"torch", "torchvision", "triton", "cupy", "fcn_export", "fcn_bench"}
    assert not top(imported(path, "fcnrt")) & forbidden


@pytest.mark.parametrize("path", sources("fcnrt"), ids=lambda path: path.name)
def test_runtime_modules_load_with_numpy_alone(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "fcnrt"}
    assert top(imported(path, "fcnrt", top_level_only=True)) <= allowed


def test_import_in_a_fresh_process_loads_numpy_alone(tmp_path: Path) -> None:
    code = "import sys; old = set(sys.modules); import fcnrt; print(*{m.split('.')[0] for m in set(sys.modules) - old})"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split()) - set(sys.stdlib_module_names)
    assert {name for name in loaded if not name.startswith("_")} == {"fcnrt", "numpy"}


def test_nobody_bends_the_module_path() -> None:
    folders = ("export", "runtime", "benchmarks", "examples")
    bent = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "sys.path" in path.read_text()]
    assert not bent


def test_every_package_is_installed() -> None:
    config = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    listed = config.partition("packages =\n")[2].partition("\ninstall_requires")[0].split()
    found = [".".join(module_of(path, package)) for package in PACKAGES for path in sources(package)
             if path.name == "__init__.py"]  # fmt: skip
    assert sorted(listed) == sorted(found)


def test_public_names() -> None:
    assert fcnrt.__all__ == sorted(fcnrt.__all__)
    public = {name for name in vars(fcnrt) if not name.startswith("_")}
    assert public - ARROWS.keys() == set(fcnrt.__all__)
    assert all(getattr(fcnrt, name).__doc__ for name in fcnrt.__all__)


def test_no_file_outgrows_one_reading() -> None:
    lengths = {path: len(path.read_text().splitlines()) for package in PACKAGES for path in sources(package)}
    assert {str(path): length for path, length in lengths.items() if length > 420} == {}


@pytest.mark.parametrize("folder", ["runtime", "simulated", "gpu"])
def test_tests_of_the_runtime_load_without_torch(folder: str) -> None:
    """`make compatibility` runs them where it is not installed; what needs it is skipped there."""
    needs_torch = {"torch", "torchvision", "triton", "tiny_networks", "fcn_export.graph.verify.textured_frames"}
    files = [path for path in (ROOT / "tests" / folder).rglob("*.py") if path.name != "torch_network.py"]
    loading = {path.name: names & needs_torch for path in files if (names := loaded_by(path)) & needs_torch}
    assert loading == {}


def loaded_by(path: Path) -> set[str]:
    """What a file outside of the packages imports when it is loaded: whole names, and their first parts."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names | top(names)
