"""Batches for training: random scale, crop and flip, drawn in other threads while the network learns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt

from fcnrt.contract.types import UInt8Array

from ..data.datasets import DataSet, Sample
from ..metrics import VOID

# Frames (N, H, W, 3) RGB and labels (N, H, W), both uint8.
Batch = tuple[UInt8Array, UInt8Array]
Rng = np.random.Generator

AROUND = (124, 116, 104)  # the mean colour of ImageNet, which all families' normalisation takes to about zero


@dataclass(frozen=True)
class Augmentation:
    """What is varied: the scale between two bounds, the place of the crop, left and right.

    Args:
        crop: height and width of what comes out, in pixels.
        scales: the smallest and largest factor of magnification.
        flip: whether half of the frames are mirrored.
    """

    crop: tuple[int, int]
    scales: tuple[float, float] = (0.5, 2.0)
    flip: bool = True

    def __call__(self, frame_hwc: UInt8Array, labels_hw: UInt8Array, rng: Rng) -> tuple[UInt8Array, UInt8Array]:
        """A varied pair of the crop's size; beyond the frame there is the mean colour, and void.

        The window is cut first and magnified then, so that no more is computed than comes out.
        """
        scale = rng.uniform(*self.scales)
        window = tuple(max(1, round(size / scale)) for size in self.crop)
        corner = [_corner(have, want, rng) for have, want in zip(labels_hw.shape, window, strict=True)]
        frame, labels = (_cut(each, corner, window, fill) for each, fill in ((frame_hwc, AROUND), (labels_hw, VOID)))
        shrinks = scale < 1
        frame = cv2.resize(frame, self.crop[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        # NEAREST would look half a pixel up and left of where INTER_LINEAR does.
        labels = cv2.resize(labels, self.crop[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        if self.flip and rng.random() < 0.5:
            frame, labels = frame[:, ::-1], labels[:, ::-1]
        return np.ascontiguousarray(frame), np.ascontiguousarray(labels)


def _corner(have: int, want: int, rng: Rng) -> int:
    """Where a window begins: inside the frame if it fits, else so that the frame is inside the window."""
    return int(rng.integers(min(0, have - want), max(0, have - want), endpoint=True))


def _cut(picture: UInt8Array, corner: list[int], window: tuple[int, ...], fill: int | tuple[int, ...]) -> UInt8Array:
    """A window of a picture; where it reaches beyond, there is `fill`."""
    inside = [
        (max(0, first), min(have, first + want))
        for have, first, want in zip(picture.shape, corner, window, strict=False)
    ]
    (top, bottom), (left, right) = inside
    part = picture[top:bottom, left:right]
    if part.shape[:2] == window:
        return part
    whole = np.full((*window, *picture.shape[2:]), fill, dtype=np.uint8)
    whole[top - corner[0] : bottom - corner[0], left - corner[1] : right - corner[1]] = part
    return whole


def epoch_batches(
    data: DataSet, augmentation: Augmentation, batch: int, seed: int, epoch: int, workers: int = 1
) -> Iterator[Batch]:
    """All samples in random order, once, in batches; a rest that fills no batch is left for the next epoch's order.

    Args:
        data: samples of any sizes.
        augmentation: applied to each of them.
        batch: samples per batch.
        seed: with `epoch`, of the order and of every variation, whatever the number of workers.
        epoch: from 0.
        workers: threads that read and vary samples ahead.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(data))
    starts = range(0, len(order) - batch + 1, batch)
    jobs = (partial(_batch, data, augmentation, order[first : first + batch], seed, epoch) for first in starts)
    return prefetched(jobs, workers)


def _batch(data: DataSet, augmentation: Augmentation, indices: npt.NDArray[np.intp], seed: int, epoch: int) -> Batch:
    pairs = [_varied(data[int(index)], augmentation, (seed, epoch, int(index))) for index in indices]
    frames, labels = zip(*pairs, strict=True)
    return np.stack(frames), np.stack(labels)


def _varied(sample: Sample, augmentation: Augmentation, seeds: tuple[int, ...]) -> tuple[UInt8Array, UInt8Array]:
    return augmentation(sample.frame_hwc, sample.labels_hw, np.random.default_rng(seeds))


def prefetched(jobs: Iterable[Callable[[], Batch]], workers: int = 1, depth: int = 3) -> Iterator[Batch]:
    """Results of jobs in their order, computed ahead in other threads, `depth` of them for each worker."""
    jobs = iter(jobs)
    with ThreadPoolExecutor(workers, thread_name_prefix="feeding") as pool:
        coming = deque(pool.submit(job) for job in islice(jobs, depth * workers))
        try:
            while coming:
                yield coming.popleft().result()
                coming.extend(pool.submit(job) for job in islice(jobs, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
