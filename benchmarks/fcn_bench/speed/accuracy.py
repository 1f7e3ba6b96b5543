"""How right contenders are, beside how fast: mean IoU on annotated frames, and labels equal to ours in float32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fcnrt.backends import read_spec
from fcnrt.contract.types import Array

from ..data.datasets import DataError
from ..data.measured_frames import Frame, MeasuredFrames
from ..metrics import ConfusionMatrix
from ..status import status
from .contenders import CONTENDERS, Contender, Setup, open_contender


def frames_to_judge_on(where: str, model: Path) -> MeasuredFrames:
    """The val frames of a data set whose classes are a model's; raises DataError where they cannot be."""
    frames, classes = MeasuredFrames(where), len(read_spec(model).classes)
    if frames.classes is None:
        raise DataError(f"--judge {where}: expected an annotated data set, got pictures alone")
    if len(frames.classes) != classes:
        raise DataError(f"--judge {where}: expected the model's {classes} classes, got {len(frames.classes)}")
    return frames


def accuracy(names: Iterable[str], setup: Setup, frames: MeasuredFrames) -> dict[str, Any]:
    """Judge contenders on annotated frames, each frame at its own size.

    Args:
        names: of contenders that run here and give labels, ours first.
        setup: what they are made from.
        frames: of a data set.

    Returns:
        "data": its name; "frames": how many; "sha256": of their pixels; "rows": of each contender its "name",
        "mean_iou", and "equal_to_ours", the share of labels that are those of the first contender.

    Raises:
        CannotRun, DataError: a contender or a frame fails.
    """
    rows: list[dict[str, Any]] = []
    ours: list[Array] = []
    for name in names:
        status(f"judging {CONTENDERS[name].title}")
        labels, mean_iou = _judged(name, setup, frames)
        ours = ours or labels
        equal = np.mean([(a == b).mean() for a, b in zip(labels, ours, strict=True)])
        rows.append({"name": name, "mean_iou": mean_iou, "equal_to_ours": float(equal)})
    return {"data": frames.name, "frames": len(frames), "sha256": frames.sha256, "rows": rows}


def _judged(name: str, setup: Setup, frames: MeasuredFrames) -> tuple[list[Array], float]:
    """A contender's labels (H, W) of all frames, and its mean IoU."""
    labels: list[Array] = []
    assert frames.classes is not None
    counts = ConfusionMatrix(len(frames.classes))
    opened = _Opened(name, setup)
    try:
        for frame in frames:
            assert frame.truth_hw is not None
            labels.append(opened.of(frame).label(frame.frame_hwc[None])[0])
            counts.update(labels[-1], frame.truth_hw)
    finally:
        opened.close()
    return labels, counts.mean_iou()


class _Opened:
    """A contender, opened again where frames have another size than those before: some are compiled for one."""

    def __init__(self, name: str, setup: Setup):
        self._name, self._setup = name, setup
        self._contender: Contender | None = None

    def of(self, frame: Frame) -> Contender:
        shape = (1, *frame.frame_hwc.shape[:2])
        if self._contender is None or shape != self._setup.shape:
            self.close()
            self._setup = replace(self._setup, shape=shape)
            self._contender = open_contender(self._name, self._setup)
        return self._contender

    def close(self) -> None:
        if self._contender is not None:
            self._contender.close()
            self._contender = None
