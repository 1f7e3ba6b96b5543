"""Environments with the packages of one runtime, and processes in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pythons import ROOT, found

PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9", "3.8", "3.7")
PATIENCE_S = 3600  # for all files in one runtime; the reference evaluator computes in Python
HELPERS = ROOT / "tests/helpers"


class NotInstalled(Exception):
    """Why there is no environment."""


def python_with(
    packages: tuple[str, ...], environment: Path, prepare: Callable[[Path], None] = lambda python: None
) -> tuple[str, Path]:
    """Install packages, wheels alone, on the newest Python that takes them: its version and its program.

    `prepare` gets that program, and raises NotInstalled where it must be another Python.
    """
    reason = "no Python is found"
    for version in PYTHONS:
        if python := found(version):
            try:
                inside = _installed(python, packages, environment)
                prepare(inside)
                return version, inside
            except NotInstalled as error:
                reason = str(error)
    raise NotInstalled(reason)


def _installed(python: str, packages: tuple[str, ...], environment: Path) -> Path:
    subprocess.run([python, "-m", "venv", "--clear", environment], check=True)
    inside = environment / "bin/python"
    pip = [inside, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--only-binary", ":all:"]
    _done([*pip, *packages])
    return inside


def node_modules_with(package: str, folder: Path) -> str:
    """Install a package of npm; its version."""
    for program, advice in (("npm", "nodejs npm"), ("chromium", "chromium")):
        if shutil.which(program) is None:
            raise NotInstalled(f"{program} is not found (apt-get install {advice})")
    folder.mkdir(parents=True, exist_ok=True)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    _done(["npm", "install", *quiet, "--prefix", folder, package])
    return str(json.loads((folder / f"node_modules/{package}/package.json").read_text())["version"])


def _done(command: list[Any]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise NotInstalled((done.stderr.strip().splitlines() or ["no reason given"])[-1])


def versions(python: Path) -> dict[str, str]:
    """Of all packages that pip has installed, by their names in small letters."""
    frozen = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    return dict(line.lower().split("==", 1) for line in frozen.splitlines() if "==" in line)


def printed(command: list[str], helpers: bool) -> tuple[str, list[Any]]:
    """How a process ended, and what it had printed in JSON until then."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if helpers:
        environment["PYTHONPATH"] = str(HELPERS)
    with tempfile.TemporaryFile("w+", errors="replace") as out:
        try:
            done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.DEVNULL, timeout=PATIENCE_S)
            ending = f"the process ended with status {done.returncode}"
        except subprocess.TimeoutExpired:
            ending = f"no answer within {PATIENCE_S} s"
        out.seek(0)
        return ending, [json.loads(line) for line in out if line.startswith("{")]
