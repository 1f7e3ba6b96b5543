"""Folders: never a checkpoint that can be read as it is, but often one that a command converts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ...errors import ExportError
from .base import NOT_MINE

SUFFIXES = (".pth", ".pt", ".tar", ".pkl", ".ckpt", ".bin", ".safetensors", ".pt2")
TRAINERS = ("optim", "sched", "scaler", "random_states", "rng_state", "training_args")  # beside weights, no weights


def read(path: Path) -> Any:
    """Refuse a folder, and say what it is."""
    if not path.is_dir():
        return NOT_MINE
    if (path / ".metadata").is_file():
        single = shlex.quote(str(path.with_name(path.name + ".pth")))
        raise ExportError(
            "a folder of torch.distributed.checkpoint; make one file of it and export that: "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {shlex.quote(str(path))} {single}"
        )
    if (path / "saved_model.pb").is_file():
        raise ExportError("a TensorFlow SavedModel; only networks of PyTorch can be exported")
    files = sorted(file.name for file in path.iterdir() if file.suffix in SUFFIXES)
    weights = [name for name in files if not any(word in name for word in TRAINERS)]
    named = f"name the file in it: {' or '.join(weights[:3])}" if weights else "there is no checkpoint in it"
    raise ExportError(f"a folder, not a file; {named}")
