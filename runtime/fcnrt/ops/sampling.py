"""Tables that tell the GPU kernels where to read: computed once per geometry in float64, stored as they read them."""

from __future__ import annotations

import itertools

import numpy as np

from ..contract.types import Array


def linear_samples(coordinates: Array, samples: int) -> tuple[Array, Array]:
    """Split places on a grid into the sample before each and the way to the next.

    Args:
        coordinates: float64 (pixels,), as ops.reference.source_coordinates gives them; the border stands in for
            those beyond it.
        samples: length of the grid.

    Returns:
        Sample before, int32 (pixels,), and fraction, float32 (pixels,) in [0, 1]. Where the fraction is not 0, the
        next sample exists.
    """
    inside = np.clip(coordinates, 0, samples - 1)
    low = np.floor(inside)
    return low.astype(np.int32), (inside - low).astype(np.float32)


def bands(low: Array, rows: int) -> Array:
    """Cut pixel rows into bands that lie between the same two samples.

    Args:
        low: int32 (pixels,), at least one; the sample before each row, never falling.
        rows: the most that a band may hold.

    Returns:
        int32 (bands + 1,): band b holds the rows from item b up to, but not including, item b + 1.
    """
    runs = np.flatnonzero(np.diff(low)) + 1
    edges = [0, *runs.tolist(), len(low)]
    starts = [np.arange(first, end, rows) for first, end in itertools.pairwise(edges)]
    return np.concatenate([*starts, [len(low)]]).astype(np.int32)


def resize_taps(source: int, target: int, antialias: bool) -> tuple[Array, Array]:
    """Write ops.reference.resize, along one axis, as short weighted sums.

    Args:
        source: pixels of the axis before.
        target: pixels of the axis after.
        antialias: whether shrinking averages over all pixels that are covered.

    Returns:
        First source pixel, int32 (target,), and weights, float32 (target, taps), summing to 1: pixel y of the result
        is the sum over k of weights[y, k] times source pixel first[y] + k, all of which exist.
    """
    ratio = source / target
    reach = max(ratio, 1.0) if antialias else 1.0
    taps = min(int(np.ceil(2 * reach)), source)
    centre = (np.arange(target) + 0.5) * ratio
    first = np.clip(np.floor(centre - reach + 0.5), 0, source - taps)
    distance = np.abs(first[:, None] + np.arange(taps) + 0.5 - centre[:, None])  # (target, taps)
    weights = np.maximum(1 - distance / reach, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return first.astype(np.int32), weights.astype(np.float32)
