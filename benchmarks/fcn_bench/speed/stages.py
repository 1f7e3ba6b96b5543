"""Where the time of one call goes, told by our own runtime: network, tail, copies, Python."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from fcnrt import Segmenter
from fcnrt.backends import Backend

from .timing import collector_off, summary, timed_ms

Frames = npt.NDArray[np.uint8]  # (N, H, W, 3)
Laps = dict[str, list[float]]  # milliseconds by stage
BACK_TO_BACK = 16  # runs of the engine that are enqueued at once


def stage_times(segment: Segmenter, frames: Sequence[Frames], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage of a call, by name, as `timing.summary` gives them.

    Everywhere "whole" (the call) and "python" (what of it is no stage). On the CPU "network" and "tail" (scores to
    labels). On GPUs each stage is waited for before the next begins, so that the whole takes longer than a call that is
    not observed, where they overlap: "host staging" (with most of the way up, which runs beside it), "host to device"
    (the rest of it), "engine", "tail", "device to host", "host copy"; and, apart from these, "engine back to back", per
    run of several enqueued at once.

    Args:
        segment: warm, of the file to be measured.
        frames: batches of one shape, used in turn.
        rounds: calls that are timed.
    """
    with collector_off():
        laps = _laps(segment, frames, rounds)
        if segment.device != "cpu":
            laps["engine back to back"] = [_back_to_back_ms(segment.backend, frames[0]) for _ in range(rounds)]
    return {name: summary(times) for name, times in laps.items()}


def _laps(segment: Segmenter, frames: Sequence[Frames], rounds: int) -> Laps:
    laps: Laps = defaultdict(list)
    with observed(segment.backend, laps) as restart:
        for turn in range(rounds):
            restart()
            laps["whole"].append(timed_ms(segment, frames[turn % len(frames)]))
    del laps["checks"]  # Python's, as what comes after the last stage is
    stages = [times for name, times in laps.items() if name != "whole"]
    laps["python"] = (np.array(laps["whole"]) - np.sum(stages, axis=0)).tolist()
    return laps


@contextmanager
def observed(backend: Backend, laps: Laps) -> Iterator[Callable[[], None]]:
    """File the milliseconds of each stage of a backend; the function that comes back starts the clock anew."""
    last = 0.0

    def restart() -> None:
        nonlocal last
        last = time.perf_counter()

    def observer(stage: str) -> None:
        laps[stage].append((time.perf_counter() - last) * 1e3)
        restart()

    backend.observer = observer
    try:
        yield restart
    finally:
        backend.observer = None


def _back_to_back_ms(backend: Backend, frames: Frames) -> float:
    """Milliseconds of the engine alone, per run: of many runs less one, which has the way to the device in it too."""
    once, more = (timed_ms(lambda count: backend.run_network(frames, count), n) for n in (1, 1 + BACK_TO_BACK))
    return (more - once) / BACK_TO_BACK
