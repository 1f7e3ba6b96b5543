"""Frames that a network labels in several classes."""

from __future__ import annotations

import numpy as np

import fcnrt


def frames_of(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with noise, so that labels vary over the picture; uint8 (N, H, W, 3)."""
    chance = np.random.default_rng(seed)
    smooth = fcnrt.upsample(chance.random((batch, 3, 4, 5)), height, width, fcnrt.Tail("align_corners"))
    noisy = smooth + chance.normal(scale=0.1, size=smooth.shape)
    return np.ascontiguousarray(np.moveaxis(255 * noisy, 1, -1).clip(0, 255).astype(np.uint8))
