"""Real frames to time on: more of them than the last-level cache holds, so that none is found there again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import count as count_up
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from fcnrt.contract.types import UInt8Array
from fcnrt.errors import MediaError
from fcnrt.pictures.inputs import find_inputs, is_video
from fcnrt.pictures.reading import read_image
from fcnrt.video import open_source

from ..machine import cache_nbytes
from . import scenes

CACHES = 1.25  # times the last-level cache that all frames of a pool fill together
LEAST = 4


def pool_size(height: int, width: int) -> int:
    """How many frames of a size exceed the last-level cache."""
    return max(LEAST, math.ceil(CACHES * cache_nbytes() / (3 * height * width)))


def frame_pool(source: str, height: int, width: int, count: int) -> list[UInt8Array]:
    """Frames of one size.

    Args:
        source: "scenes" for generated streets; else a file, a folder or a glob pattern of pictures and videos, whose
            frames are resized. Where there are fewer than `count` they come again mirrored, then again as copies.
        height, width: of the frames, in pixels.
        count: number of frames.

    Returns:
        Arrays (1, height, width, 3), uint8 RGB, each with memory of its own.

    Raises:
        MediaError: the source has no frame, or one that cannot be read.
    """
    found = [_resized(frame, height, width) for frame in islice(_frames(source, height, width), count)]
    if not found:
        raise MediaError(f"{source}: expected frames, found none")
    return [_variant(found[index % len(found)], index // len(found)) for index in range(count)]


def decode_ms(source: str, count: int) -> list[float]:
    """Milliseconds to decode each of some frames, at their own size.

    Raises:
        MediaError: the source has no files, or one that cannot be read.
    """
    if _is_generated(source):
        raise MediaError(f"{source}: these frames are drawn, not decoded; name files by --frames")
    elapsed_ms, frames = list[float](), _frames(source, 0, 0)
    while len(elapsed_ms) < count:
        start = time.perf_counter()
        if next(frames, None) is None:
            break
        elapsed_ms.append((time.perf_counter() - start) * 1e3)
    return elapsed_ms


def _is_generated(source: str) -> bool:
    return source == "scenes" and not Path(source).exists()


def _frames(source: str, height: int, width: int) -> Iterator[UInt8Array]:
    if _is_generated(source):
        for index in count_up():
            yield scenes.scene(np.random.default_rng(index), height, width)[0]
    for path in find_inputs([source]):
        if is_video(path):
            with open_source(path) as video:
                yield from (frame.pixels for frame in video)
        else:
            yield read_image(path)


def _resized(frame_hwc: UInt8Array, height: int, width: int) -> UInt8Array:
    if frame_hwc.shape[:2] == (height, width):
        return frame_hwc
    shrinks = frame_hwc.shape[0] > height or frame_hwc.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame_hwc, (width, height), interpolation=method))


def _variant(frame_hwc: UInt8Array, repeat: int) -> UInt8Array:
    return (frame_hwc[:, ::-1] if repeat % 2 else frame_hwc)[None].copy()
