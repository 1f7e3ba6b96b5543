"""What a contender is, and what it is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from fcn_export.checkpoint_options import CheckpointOptions
from fcnrt.backends import read_spec
from fcnrt.contract.types import Array

NOTHING_STATED = CheckpointOptions()
Frames = npt.NDArray[np.uint8]  # (N, H, W, 3)


class CannotRun(Exception):
    """A contender cannot run here; the text is the reason that tables show in its place."""


@dataclass(frozen=True)
class Setup:
    """What all contenders are given alike.

    Args:
        model: the exported file.
        shape: (batch, height, width) of the frames to come.
        threads: on the CPU.
        folder: for what a contender prepares once; it finds it there when it is opened again, in whatever process.
        device: where to compute.
        checkpoint: the file that the model was exported from; for those that start from the network in torch.
        engine: a TensorRT engine built from the model.
        int8: the INT8 file of the same checkpoint.
        calibration: frames (1, H, W, 3) uint8 RGB, by which contenders quantise the model themselves.
        reading: as for export/to_onnx.py, what the checkpoint's keys cannot tell.
    """

    model: Path
    shape: tuple[int, int, int]
    threads: int
    folder: Path
    device: Literal["cpu", "cuda"] = "cpu"
    checkpoint: Path | None = None
    engine: Path | None = None
    int8: Path | None = None
    calibration: Sequence[Frames] = ()
    reading: CheckpointOptions = NOTHING_STATED


def calibration_of(setup: Setup) -> Sequence[Frames]:
    """RGB frames to quantise by; raises CannotRun where there are none."""
    if not setup.calibration:
        raise CannotRun("needs --calibration FOLDER, frames to quantise by")
    return setup.calibration


def in_order(setup: Setup, frames: Frames) -> Frames:
    """RGB frames in the channel order that the model takes."""
    return frames if read_spec(setup.model).color == "rgb" else np.ascontiguousarray(frames[..., ::-1])


@dataclass(frozen=True)
class Contender:
    """Something that labels frames, ready to be timed.

    Args:
        label: host frames (N, H, W, 3) uint8 to host labels (N, H, W) uint8, returning when they are there.
        precision: that it computes the network's body in.
        note: what a reader must know to read its figures rightly.
        gives: "scores" where it stops before the labels, and so can only be a floor.
        close: frees it.
    """

    label: Callable[[Frames], Array]
    precision: str
    note: str = ""
    gives: Literal["labels", "scores"] = "labels"
    close: Callable[[], None] = lambda: None
