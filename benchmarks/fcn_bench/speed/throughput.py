"""Frames per second of our own runtime: call by call, pipelined, in batches, in several threads."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from fcnrt import FcnrtError, Segmenter

from .timing import Pace, spread, take_turns, warm_up

Frames = npt.NDArray[np.uint8]  # (1, H, W, 3)
Batches = Sequence[Frames]  # what one run of a mode works through
DEPTH = 3  # frames in flight of a pipeline
LEAST_RUN_MS = 500.0  # of a timed run, that beginning and end of a pipeline weigh little
LEAST_FRAMES = 4


def throughput(
    segment: Segmenter, frames: Batches, frame_ms: float, batches: Sequence[int], streams: Sequence[int], pace: Pace
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Frames per second of each mode, in interleaved rounds.

    Args:
        segment: of the file to be measured.
        frames: (1, H, W, 3), all of one size.
        frame_ms: what a frame takes alone, about.
        batches: batch sizes to measure, made before the time is taken.
        streams: numbers of threads, each with a clone of its own.
        pace: rounds and pauses.

    Returns:
        {"mode", "frames" per run, "fps": median, p10, p90} for each, and why a mode cannot run, by name.
    """
    count = frames_per_run(frame_ms, (*batches, *streams))
    rows, absent = [], {}
    with ExitStack() as clones:
        runs, inputs = _modes(segment, clones, batches, streams), _sequences(frames, count)
        for name, run in list(runs.items()):
            try:
                warm_up(run, inputs, 0)
            except FcnrtError as error:  # an engine's profile may take single frames only
                absent[name] = str(error)
                del runs[name]
        for name, elapsed_ms in take_turns(runs, inputs, pace).items():
            fps = spread(1e3 * count / np.array(elapsed_ms))
            rows.append({"mode": name, "frames": count, "fps": fps})
    return rows, absent


def frames_per_run(frame_ms: float, divisors: Sequence[int]) -> int:
    """Enough frames for a timed run, and a multiple of all batch sizes and thread counts."""
    step = math.lcm(*divisors)
    return step * math.ceil(max(LEAST_FRAMES, LEAST_RUN_MS / frame_ms) / step)


def _sequences(frames: Batches, count: int) -> list[list[Frames]]:
    """Two runs' worth of frames, from different places of the pool."""
    return [[frames[(first + index) % len(frames)] for index in range(count)] for first in (0, len(frames) // 2)]


def _modes(
    segment: Segmenter, clones: ExitStack, batches: Sequence[int], streams: Sequence[int]
) -> dict[str, Callable[[Batches], object]]:
    """What is compared; each is called with the frames of one run."""
    modes: dict[str, Callable[[Batches], object]] = {
        "one by one": lambda frames: [segment(frame) for frame in frames],
        f"pipelined, depth {DEPTH}": lambda frames: deque(segment.stream(frames, depth=DEPTH), maxlen=0),
    }
    modes |= {f"batches of {size}": _batched(segment, size) for size in batches if size > 1}
    modes |= {f"{count} threads": _threaded(segment, clones, count) for count in streams if count > 1}
    return modes


def _batched(segment: Segmenter, size: int) -> Callable[[Batches], object]:
    made: dict[tuple[int, int], list[Frames]] = {}

    def run(frames: Batches) -> object:
        key = id(frames), len(frames)
        if key not in made:  # in the warm-up, which sees all inputs
            made[key] = [np.concatenate(frames[first : first + size]) for first in range(0, len(frames), size)]
        return [segment(batch) for batch in made[key]]

    return run


def _threaded(segment: Segmenter, clones: ExitStack, count: int) -> Callable[[Batches], object]:
    workers = [segment, *(clones.enter_context(segment.clone()) for _ in range(count - 1))]
    pool = clones.enter_context(ThreadPoolExecutor(count))

    def work(worker: Segmenter, frames: Batches) -> object:
        return [worker(frame) for frame in frames]

    return lambda frames: list(pool.map(work, workers, [frames[first::count] for first in range(count)]))
