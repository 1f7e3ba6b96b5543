"""`fcnrt tune`: which engine of the CPU is the fastest here for a model; the answer is kept for later."""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from ..backends.choice import USUAL, WAYS, WORTHWHILE, Way, is_alike
from ..backends.tuning import remember
from ..contract.types import Frames
from ..errors import BackendError, MediaError, MissingDependency, print_line
from ..ops.resizing import resized
from ..segmenter import Segmenter
from ..video import open_source
from .argument_types import positive, size
from .terminal import complain, progress

FRAMES = 8  # that are labelled in turn
PAUSE_S = 0.02  # before each run: threads of who ran last may spin for a moment, and nobody is to be timed against them
BUSY = 0.5  # processes that wanted a core in the last minute, by core, from which times say little


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt tune`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py")
    parser.add_argument("frames", nargs="?", metavar="FRAMES", help="video or folder to time on (generated frames)")
    parser.add_argument("--size", type=size, metavar="HxW", help="of the frames (their own; generated: 720x1280)")
    parser.add_argument("--threads", type=positive, help="threads of the engines (all cores)")
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="of one frame each (15)")
    parser.set_defaults(run=tune)


def tune(options: argparse.Namespace) -> int:
    """Time every engine that is installed, print the times, and keep them."""
    frames = _frames(options.frames, options.size)
    load = _load()
    with ExitStack() as stack:
        segmenters, absent = _segmenters(options, stack)
        labels = {way: segment(frames[0]) for way, segment in segmenters.items()}  # and warm
        precision = segmenters[USUAL].spec.precision
        elapsed_ms = _times(segmenters, frames, options.rounds)
    ratios = {way: _ratio(ms, elapsed_ms[USUAL]) for way, ms in elapsed_ms.items()}
    for way, ms in elapsed_ms.items():
        equal = np.mean(labels[way] == labels[USUAL])
        print(f"  {way!s:18}{statistics.median(ms):9.1f} ms{ratios[way]:8.2f}   {equal:.3%} of labels equal")
    for way, reason in absent.items():
        print_line(f"  {way!s:18}not here: {reason}")
    if load > BUSY:
        complain(f"this machine was busy ({load:.1f} processes for each core): tune again when it is not")
    print_line(_verdict(ratios, precision))
    facts = {"model": options.model.name, "frame": list(frames[0].shape[:2]), "date": _now()}
    kept = {str(way): ratio for way, ratio in ratios.items()}
    print_line(f"kept in {remember(options.model.resolve(), options.threads, kept, facts)}")
    return 0


def _frames(where: str | None, size: tuple[int, int] | None) -> list[Frames]:
    """Some frames (H, W, 3) of one size."""
    height, width = size or (720, 1280)
    with open_source(where or f"test:{height}x{width}*{FRAMES}") as source:
        frames = [frame.pixels for frame in itertools.islice(source, FRAMES)]
    if not frames:
        raise MediaError(f"{where}: expected frames, got none")
    shape = size or frames[0].shape[:2]
    return [resized(frame[None], shape, antialias=True)[0] for frame in frames]


def _segmenters(options: argparse.Namespace, stack: ExitStack) -> tuple[dict[Way, Segmenter], dict[Way, str]]:
    """What can run the model here, and why the others cannot; raises FcnrtError where the usual way cannot."""
    found, absent = {}, {}
    for way in WAYS:
        try:
            found[way] = stack.enter_context(
                Segmenter(options.model, device="cpu", threads=options.threads, **way._asdict())
            )
        except (BackendError, MissingDependency) as error:
            if way == USUAL:
                raise
            absent[way] = str(error)
    return found, absent


def _times(segmenters: Mapping[Way, Segmenter], frames: list[Frames], rounds: int) -> dict[Way, list[float]]:
    """Milliseconds of each in rounds, side by side: a machine whose speed drifts drifts for all."""
    elapsed_ms: dict[Way, list[float]] = {way: [] for way in segmenters}
    for turn in progress(range(rounds), "round"):
        ways = list(segmenters)[:: -1 if turn % 2 else 1]
        for way in ways:
            time.sleep(PAUSE_S)
            started = time.perf_counter()
            segmenters[way](frames[turn % len(frames)])
            elapsed_ms[way].append(1e3 * (time.perf_counter() - started))
    return elapsed_ms


def _ratio(elapsed_ms: list[float], usual_ms: list[float]) -> float:
    return statistics.median(mine / usual for mine, usual in zip(elapsed_ms, usual_ms, strict=True))


def _verdict(ratios: Mapping[Way, float], precision: str) -> str:
    """What follows from the times for a file of some precision."""
    alike = {w: ratio for w, ratio in ratios.items() if w.precision == USUAL.precision and is_alike(w, precision)}
    best = min(alike, key=alike.__getitem__)
    best = best if alike[best] < WORTHWHILE else USUAL
    faster = min(ratios, key=ratios.__getitem__)
    text = f"engine auto is {best.engine} from now on"
    if not is_alike(faster, precision) and ratios[faster] < WORTHWHILE:
        return f"{text}; --engine {faster.engine} takes {ratios[faster]:.2f} of its time, but rounds int8 differently"
    if ratios[faster] < WORTHWHILE and faster.precision != USUAL.precision:
        text += (
            f"; --precision {faster.precision} takes {ratios[faster] / alike[best]:.2f} of its time, and is taken by "
            f"itself where the file is certified for it (fcnrt parity --precision {faster.precision} --certify)"
        )
    return text


def _load() -> float:
    """Processes that wanted a core in the last minute, by core; 0 where the system does not count them."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
