"""Fixtures shared by all tests: exported tiny networks, made once per session."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from exports import Export, exporter, kept_folder
from packages import installed
from ray_cluster import cluster
from simulated.host import MakeHost, gpu_host

if torch := installed("torch"):
    torch.set_num_threads(1)  # tiny networks: a second thread waits more than it works


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `fcnrt tune` found for the user of this machine decides nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
            patch.setenv(variable, str(tmp_path_factory.getbasetemp() / "home"))
        yield


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A function: name of a tiny network and further flags to its ONNX file (see `exporter`)."""
    return exporter(kept_folder() or tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def ray_address(cache_of_its_own: None) -> Iterator[str]:
    """The address of a Ray cluster of two cores."""
    if find_spec("ray") is None:
        pytest.skip("no Ray: pip install 'fcnrt[ray]'")
    with cluster() as address:
        yield address


@pytest.fixture
def make_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MakeHost]:
    """A function that makes a simulated GPU host (see `gpu_host`), which is checked for leaks when the test is over."""
    with ExitStack() as hosts:
        yield lambda *arguments, **options: hosts.enter_context(gpu_host(monkeypatch, tmp_path, *arguments, **options))


@pytest.fixture
def hide_package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes a package one that is not installed."""
    real = builtins.__import__

    def hide(package: str) -> None:
        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.split(".")[0] == package:
                raise ImportError(f"No module named {name!r}")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)

    return hide
