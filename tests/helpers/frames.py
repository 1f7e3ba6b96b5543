"""Frames that a network labels in several classes, and such as an encoder has work with."""

from __future__ import annotations

import numpy as np

import fcnrt


def frames_of(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with noise, so that labels vary over the picture; uint8 (N, H, W, 3)."""
    chance = np.random.default_rng(seed)
    smooth = fcnrt.upsample(chance.random((batch, 3, 4, 5)), height, width, fcnrt.Tail("align_corners"))
    noisy = smooth + chance.normal(scale=0.1, size=smooth.shape)
    return np.ascontiguousarray(np.moveaxis(255 * noisy, 1, -1).clip(0, 255).astype(np.uint8))


def blocks(height: int, width: int, frames: int, seed: int = 3) -> np.ndarray:
    """Frames that do not compress well, uint8 (frames, H, W, 3), of sides that are multiples of 8."""
    chance = np.random.default_rng(seed)
    small = chance.integers(0, 256, (frames, height // 8, width // 8, 3), dtype=np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)
