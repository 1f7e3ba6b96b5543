"""Frames, the labels that are right for them, and how much others may differ: the one place for tolerances.

Right is what ONNX Runtime makes of the FP32 file on the CPU, upsampling and argmax included, with no code of ours.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fcnrt
from fcnrt.contract.types import Array
from frames import frames_of

from .inputs import imported

Shape = tuple[int, int, int]  # (batch, height, width)

SHAPES: tuple[Shape, ...] = ((1, 65, 97), (2, 83, 51), (1, 130, 140))


@dataclass(frozen=True)
class Tolerance:
    """What labels must reach.

    Attributes:
        equal: share of all labels.
        clear: share of the labels where the best class leads clearly,
        lead: which is by more than this share of the picture's mean lead.
    """

    equal: float
    clear: float
    lead: float


# float32 sums in another order (without TF32) move the border between two classes, and nothing else.
# Halves: trained networks keep 99.9 % of their labels. Random ones hardly prefer one class to another: in torch, on a
# CPU, these keep 99.71 % or more of all labels, and each that leads by more than 2.7 % of the mean lead. So the 99.9 %
# are demanded of the labels with a clear lead, which 94 % or more have.
TOLERANCES = {"fp32": Tolerance(0.9995, 1.0, 0.01), "fp16": Tolerance(0.995, 0.999, 0.05)}


@dataclass(frozen=True)
class Case:
    """Frames (N, H, W, 3), their labels (N, H, W), and by how much the best class leads there, float64 (N, H, W)."""

    frames: Array
    labels: Array
    logits: Array


def assert_agree(labels: Array, case: Case, precision: str = "fp32") -> None:
    """Labels are those of a case, up to what a precision may change."""
    tolerance = TOLERANCES[precision]
    assert (labels.shape, labels.dtype) == (case.labels.shape, case.labels.dtype)
    equal = labels == case.labels
    second, best = np.moveaxis(np.partition(case.logits, -2, axis=1)[:, -2:], 1, 0)  # (N, H, W) each
    clear = best - second > tolerance.lead * (best - second).mean()
    shares = f"{equal.mean():.4%} of all labels, {equal[clear].mean():.4%} of the clear ones"
    assert equal.mean() >= tolerance.equal and equal[clear].mean() >= tolerance.clear, f"equal are {shares}"


@functools.cache
def cases_of(model: Path) -> tuple[Case, ...]:
    """A case of each shape, by an FP32 file."""
    return tuple(case_of(model, frames_of(*shape, seed=seed)) for seed, shape in enumerate(SHAPES))


def case_of(model: Path, frames: Array) -> Case:
    """The case of some frames, by an FP32 file."""
    labels = labels_on_cpu(model, frames)
    with fcnrt.Segmenter(model, device="cpu") as segment:
        logits = fcnrt.upsample(segment.scores(frames), *frames.shape[1:3], segment.spec.tail)
    return Case(frames, labels, logits)


def labels_on_cpu(model: Path, frames: Array) -> Array:
    """What ONNX Runtime makes of frames on the CPU."""
    (labels,) = _session(model).run(["labels"], {"frames": frames})
    return np.asarray(labels)


@functools.cache
def _session(model: Path) -> Any:
    onnxruntime = imported("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
