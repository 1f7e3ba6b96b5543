"""Inputs for GPU kernels, and when their results are the reference's: for simulated GPUs and for real ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fcnrt.contract.types import Array
from fcnrt.ops import reference

TIE = 1e-3  # logits closer than this may change places in float32


def noise(shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
    return np.random.default_rng(0).normal(size=shape, scale=4.0).astype(dtype)


def bytes_of(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def assert_labels(labels: Array, logits: Array) -> None:
    """Equal to the reference; elsewhere, only a logit as good as the best within float32's rounding."""
    differs = labels != reference.argmax(logits)
    chosen = np.take_along_axis(logits, labels[:, None].astype(np.intp), axis=1)[:, 0]
    assert (logits.max(axis=1) - chosen)[differs].max(initial=0) <= TIE
    assert differs.mean() <= 0.001


def assert_near(values: Array, expected: Array) -> None:
    """Equal but for the rounding of a byte."""
    assert values.shape == expected.shape
    assert np.abs(values.astype(np.float64) - expected).max() <= 1
