"""Tiny networks exported as a user exports them, and the files in plain ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch

from fcn_export.commands import to_onnx
from tiny_networks import options_for, tiny, upstream_state

Export = Callable[..., Path]


def exporter(folder: Path) -> Export:
    """A function: name of a tiny network and further flags to the ONNX file that to_onnx.py makes of it, once."""
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


def plain_session(path: Path) -> onnxruntime.InferenceSession:
    """The file in ONNX Runtime on the CPU, with no code of ours."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
