"""Fixtures shared by all tests: exported tiny networks, made once per session."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from fcn_export.commands import to_onnx
from simulated.host import MakeHost, gpu_host
from tiny_networks import options_for, tiny, upstream_state

torch.set_num_threads(1)  # tiny networks: a second thread waits more than it works

Export = Callable[..., Path]


def plain_session(path: Path) -> onnxruntime.InferenceSession:
    """The file in ONNX Runtime on the CPU, with no code of ours."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A function: name of a tiny network and further flags to the ONNX file that to_onnx.py makes of it."""
    folder = tmp_path_factory.mktemp("exported")
    made: dict[tuple[str, ...], Path] = {}

    def export(name: str, *flags: str) -> Path:
        key = (name, *flags)
        if key not in made:
            checkpoint = folder / f"{name.replace(' ', '-')}.pth"
            torch.save(upstream_state(tiny(name)), checkpoint)
            output = folder / f"{len(made)}.onnx"
            assert to_onnx.main([str(checkpoint), "-o", str(output), *options_for(name), *flags]) == 0
            made[key] = output
        return made[key]

    return export


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
