"""What pip installs: the wheel's files, its command, and the editable install of the repository."""

from __future__ import annotations

import email
import importlib.metadata
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fcnrt
from places import ROOT

# What a wheel is made of; docker/ builds images of the same.
NEEDED = ("setup.cfg", "pyproject.toml", "LICENSE", "docs/package.md", "runtime", "export", "benchmarks/fcn_bench")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy: setuptools writes into the folder that it builds."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    subprocess.run(["cp", "-r", "--parents", *NEEDED, source], cwd=ROOT, check=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", out, source], check=True)
    (path,) = out.iterdir()
    return path


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT / folder).as_posix()
        for folder, package in (("runtime", "fcnrt"), ("export", "fcn_export"), ("benchmarks", "fcn_bench"))
        for path in (ROOT / folder / package).rglob("*.py")
    }
    packs = {f"fcnrt/gpu/packs/{path.name}" for path in (ROOT / "runtime/fcnrt/gpu/packs").glob("*.json")}
    static = "fcnrt/serving/live/static"
    pages = {f"{static}/{path.name}" for path in (ROOT / "runtime" / static).iterdir()}
    assert names == expected | {"fcnrt/py.typed"} | packs | pages


def test_installed_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site"]
    subprocess.run([*pip, wheel], check=True)
    run = subprocess.run(
        [sys.executable, tmp_path / "site/bin/fcnrt", "--version"],
        env={"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"fcnrt {fcnrt.__version__}\n"


def test_an_index_can_show_what_the_wheel_says_of_itself(wheel: Path) -> None:
    """Links and pictures of the repository lead nowhere from there."""
    (name,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("METADATA"))
    metadata = email.message_from_bytes(zipfile.ZipFile(wheel).read(name))
    assert metadata["Description-Content-Type"] == "text/markdown" and "Typing :: Typed" in str(metadata)
    description = metadata.get_payload()
    assert description.startswith("fcnrt takes a trained FCN segmentation checkpoint")
    assert not re.findall(r"\]\((?!https://)", description)


def test_the_images_let_through_what_a_wheel_is_made_of() -> None:
    passed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {*NEEDED, "constraints.txt"} <= {*passed}


@pytest.mark.parametrize("path", sorted((ROOT / "docker").glob("*.Dockerfile")), ids=lambda path: path.name)
def test_dockerfile_is_sound(path: Path) -> None:
    text = path.read_text()
    (extras,) = re.findall(r'^ARG EXTRAS="(.*)"', text, flags=re.M)
    assert all(f"\n{extra} =\n" in (ROOT / "setup.cfg").read_text() for extra in extras.split(","))
    assert all((ROOT / name).exists() for name in re.findall(r"export/\w+\.py", text))
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed; it comes with `make install` on Linux x86-64")
    subprocess.run([linter, path], check=True)


def test_the_changelog_has_a_date_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(fcnrt.__version__)} \(\d{{4}}-\d\d-\d\d\)$", changelog, flags=re.M)
    assert "## Unreleased" in changelog


def test_wheel_needs_numpy_alone(wheel: Path) -> None:
    (metadata,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("METADATA"))
    lines = zipfile.ZipFile(wheel).read(metadata).decode().splitlines()
    required = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert required == ["Requires-Dist: numpy>=1.26"]
    extras = {line.split()[1] for line in lines if line.startswith("Provides-Extra:")}
    runtimes = {
        "batch",
        "cpu",
        "cuda",
        "openvino",
        "tensorrt",
        "tensorrt-lean",
        "tensorrt-rtx",
        "pycuda",
        "ray",
        "serve",
        "video",
        "fonts",
        "geo",
    }
    assert extras == runtimes | {"export", "engine", "bench", "dev"}


def test_editable_install_is_this_tree() -> None:
    records = [found.read_text("direct_url.json") for found in importlib.metadata.distributions(name="fcnrt")]
    origins = [json.loads(record) for record in records if record]
    if not origins:
        pytest.skip("the tests run from a bare clone; `make test` installs it")
    assert origins[0]["dir_info"]["editable"] and origins[0]["url"] == ROOT.as_uri()
    assert importlib.metadata.version("fcnrt") == fcnrt.__version__
