"""Where the time of one call goes, measured inside our own runtime: network, tail, copies, Python."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fcnrt import Segmenter
from fcnrt.backends.gpu import GpuBackend
from fcnrt.gpu.arrays import DeviceFrames
from fcnrt.ops.reference import label_dtype

from .timing import collector_off, summary, timed_ms

Frames = npt.NDArray[np.uint8]  # (N, H, W, 3)
BACK_TO_BACK = 16  # runs of the engine that are enqueued at once


def stage_times(segment: Segmenter, frames: Sequence[Frames], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage of a call, by name, as `timing.summary` gives them.

    On the CPU: "network" (ONNX Runtime's session), "tail" (scores to labels), "python" (the rest) and "whole".
    On GPUs each stage is waited for before the next begins, so that together they take longer than a call, which
    overlaps them: "host staging" (with most of the way up, which runs beside it), "host to device" (the rest of it),
    "engine", "tail", "device to host", "host copy"; and "engine back to back", per run of several enqueued at once.

    Args:
        segment: warm, of the file to be measured; its innards are reached into.
        frames: batches of one shape, used in turn.
        rounds: calls that are timed.
    """
    backend = segment._backend
    measure = _gpu_stages if isinstance(backend, GpuBackend) else _cpu_stages
    with collector_off():
        return {name: summary(times) for name, times in measure(segment, frames, rounds).items()}


def _cpu_stages(segment: Segmenter, frames: Sequence[Frames], rounds: int) -> dict[str, list[float]]:
    backend: Any = segment._backend
    with _timed(backend._session, "run_with_iobinding") as network, _timed(backend, "_make_labels") as tail:
        whole = [timed_ms(segment, frames[turn % len(frames)]) for turn in range(rounds)]
    python = (np.array(whole) - network - tail).tolist()
    return {"network": network, "tail": tail, "python": python, "whole": whole}


@contextlib.contextmanager
def _timed(owner: Any, name: str) -> Iterator[list[float]]:
    """Note the milliseconds of each call of one object's method."""
    method, elapsed_ms = getattr(owner, name), list[float]()

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = method(*arguments)
        elapsed_ms.append((time.perf_counter() - start) * 1e3)
        return result

    setattr(owner, name, timed)
    try:
        yield elapsed_ms
    finally:
        delattr(owner, name)


def _gpu_stages(segment: Segmenter, frames: Sequence[Frames], rounds: int) -> dict[str, list[float]]:
    backend: Any = segment._backend
    labels = np.empty(frames[0].shape[:3], label_dtype(len(segment.classes)))
    laps: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds):
        staged_call(backend, frames[turn % len(frames)], labels, laps)
    laps["engine back to back"] = [_back_to_back_ms(backend, frames[0]) for _ in range(rounds)]
    return laps


def staged_call(backend: Any, frames: Frames, labels: npt.NDArray[Any], laps: dict[str, list[float]]) -> None:
    """What GpuBackend does in a call, each step waited for; appends the milliseconds of each to its list.

    Args:
        backend: the GpuBackend of a Segmenter.
        frames: uint8 (N, H, W, 3), contiguous.
        labels: (N, H, W), written to.
        laps: milliseconds by stage.
    """
    slot, lap = backend._next_slot(), _stopwatch(laps)
    with backend._working():
        view = backend._sent(frames, slot)
        lap("host staging")
        backend._upload.synchronize()
        lap("host to device")
        (address,) = slot.addresses_for([labels])
        _compute(backend, DeviceFrames((view,)), address, lap)
        slot.computed.record(backend._compute)
        slot.fetch([labels], backend._download)
        backend._download.synchronize()
        lap("device to host")
        slot.deliver()
        lap("host copy")


def _compute(backend: Any, frames: DeviceFrames, labels: int, lap: Callable[[str], None]) -> None:
    network, (address, seen) = backend._network, backend._network_input(frames)
    if network.output == "labels":
        network.labels(address, seen, labels)
        backend._compute.synchronize()
        lap("engine")
        return
    scores = network.scores(address, seen)
    backend._compute.synchronize()
    lap("engine")
    upsample = backend._upsampler_for(scores, frames.shape, seen)
    upsample(scores.address, labels, None, backend._nonfinite_address, backend._compute)
    backend._compute.synchronize()
    lap("tail")


def _back_to_back_ms(backend: Any, frames: Frames) -> float:
    """Milliseconds of the engine alone, per run, when the GPU need not wait for the host."""
    slot, network = backend._next_slot(), backend._network
    with backend._working():
        address, seen = backend._network_input(DeviceFrames((backend._sent(frames, slot),)))
        (labels,) = slot.addresses_for([frames])  # more room than labels need
        backend._compute.synchronize()
        start = time.perf_counter()
        for _ in range(BACK_TO_BACK):
            network.labels(address, seen, labels) if network.output == "labels" else network.scores(address, seen)
        backend._compute.synchronize()
    return (time.perf_counter() - start) * 1e3 / BACK_TO_BACK


def _stopwatch(laps: dict[str, list[float]]) -> Callable[[str], None]:
    """A function that files the time since it was last called under a name."""
    last = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        laps[name].append((now - last) * 1e3)
        last = now

    return lap
