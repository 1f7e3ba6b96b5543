"""One contender alone in a fresh process: how much memory it takes, and what it costs at sizes up to a large still."""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..machine import MIB, peak_host_nbytes, used_device_nbytes
from .contenders import CannotRun, Frames, Setup, open_contender
from .timing import timed_ms

MOST_RUNS = 5


def alone(name: str, setup: Setup, frames: Frames, least_ms: float = 1000.0) -> dict[str, float | None]:
    """Measure a contender in a process of its own.

    Args:
        name: of the contender.
        setup: as for `open_contender`.
        frames: uint8 (N, H, W, 3), the same in all runs.
        least_ms: runs go on until they have taken so long together, but for 1 to 5 runs.

    Returns:
        "load_ms" (importing and loading), "first_ms" (the first run, not counted in the next), "median_ms",
        "host_mib" (the most memory that the process held, all in all), "idle_mib" (of that, Python and the frames),
        "device_mib" (how much less of the GPU's memory was free at the end; None without one).

    Raises:
        CannotRun: it cannot, or the system ended its process, as for want of memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frames.npy"
        np.save(file, frames)
        context = multiprocessing.get_context("spawn")  # a forked one would begin with this one's memory and threads
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            try:
                answer = pool.submit(_measure, name, setup, file, least_ms).result()
            except BrokenProcessPool as error:
                raise CannotRun("the system ended its process, probably for want of memory") from error
    if isinstance(answer, str):
        raise CannotRun(answer)
    return answer


def _measure(name: str, setup: Setup, file: Path, least_ms: float) -> dict[str, float | None] | str:
    """In the other process: figures, or why there are none."""
    with contextlib.suppress(OSError):  # where memory runs out, this process shall go and not somebody's
        Path("/proc/self/oom_score_adj").write_text("1000")
    frames, idle = np.load(file), peak_host_nbytes()
    device_before = used_device_nbytes() if setup.device == "cuda" else None
    start = time.perf_counter()
    try:
        contender = open_contender(name, setup)
        load_ms = (time.perf_counter() - start) * 1e3
        first_ms, elapsed_ms = timed_ms(contender.label, frames), list[float]()
        while not elapsed_ms or (sum(elapsed_ms) < least_ms and len(elapsed_ms) < MOST_RUNS):
            elapsed_ms.append(timed_ms(contender.label, frames))
    except Exception as error:  # pickled exceptions of libraries do not all come back as they were
        return str(error) or type(error).__name__
    device_after = used_device_nbytes() if setup.device == "cuda" else None
    return {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "median_ms": statistics.median(elapsed_ms),
        "host_mib": _mib(peak_host_nbytes()),
        "idle_mib": _mib(idle),
        "device_mib": None if device_before is None else _mib(device_after - device_before),
    }


def _mib(nbytes: int | None) -> float | None:
    return None if nbytes is None else round(nbytes / MIB, 1)


def stacked(frames: list[npt.NDArray[Any]], batch: int) -> Frames:
    """The first frames (1, H, W, 3) of a pool as a batch (N, H, W, 3), from the beginning again if there are few."""
    return np.concatenate([frames[index % len(frames)] for index in range(batch)])
