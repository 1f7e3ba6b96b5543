"""Colours for any number of classes: bright, and each one as far as can be from those before it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..contract.types import UInt8Array

_CHOSEN = 256  # colours chosen by distance; beyond them the eye tells none apart
_LEVELS = np.arange(0, 256, 17)  # of each channel, for the choice
_LEAST_LIGHTNESS, _MOST_LIGHTNESS = 0.55, 0.93
_DULLEST_LUMA = 96

# OKLab in these parts, in integers: rounding of the last bit decides nothing, so every machine chooses alike.
_PARTS = 4096

# 1/g, 1/g**2 and 1/g**3 in units of 2**-32, where g = 1.2207... solves g**4 = g + 1.
_SPREAD_STEPS = np.array([3518319155, 2882110345, 2360945575], dtype=np.uint64)
_SPREAD_POINTS = 120_000  # more than 65535 of them are bright

_LUMA_WEIGHTS = np.array([54, 183, 19])  # of ITU-R BT.709, in 256ths
_TO_CONES = np.array(
    [
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    ]
)
_TO_LAB = np.array(
    [
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    ]
)


def oklab(rgb: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Convert (..., 3) sRGB in 0..255 to OKLab: lightness in 0..1, and two axes of hue and chroma.

    Source: B. Ottosson, "A perceptual color space for image processing".
    """
    encoded = rgb / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    lab: npt.NDArray[np.float64] = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T
    return lab


def generated_colours(count: int) -> UInt8Array:
    """(count, 3) uint8, RGB: the first colours of a sequence without repetition, at most 65535."""
    colours = _farthest() if count <= _CHOSEN else _all()
    return colours[:count].copy()


@lru_cache(maxsize=1)
def _farthest() -> UInt8Array:
    """Bright colours, each the farthest in OKLab from all before it, and from black, grey and white."""
    candidates = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = oklab(candidates)[:, 0]
    candidates = candidates[(lightness >= _LEAST_LIGHTNESS) & (lightness <= _MOST_LIGHTNESS)]
    points = _whole(candidates)
    nearest = np.min([_squares(points, grey) for grey in _whole(np.array([[0] * 3, [128] * 3, [255] * 3]))], axis=0)
    chosen = []
    for _ in range(_CHOSEN):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _squares(points, points[chosen[-1]]))
    return candidates[chosen].astype(np.uint8)


@lru_cache(maxsize=1)
def _all() -> UInt8Array:
    """Those, then the bright points of a sequence that fills the RGB cube evenly at every length.

    Source: M. Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences" (the R3 sequence).
    """
    index = np.arange(_SPREAD_POINTS, dtype=np.uint64)[:, None]
    points = (index * _SPREAD_STEPS >> np.uint64(24) & np.uint64(255)).astype(np.uint8)
    bright = points @ _LUMA_WEIGHTS >> 8 >= _DULLEST_LUMA
    colours = np.concatenate([_farthest(), points[bright]])
    _, first = np.unique(colours, axis=0, return_index=True)
    return colours[np.sort(first)]


def _whole(rgb: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    return np.rint(oklab(rgb) * _PARTS).astype(np.int64)


def _squares(points: npt.NDArray[np.int64], point: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    squares: npt.NDArray[np.int64] = ((points - point) ** 2).sum(axis=-1)
    return squares
