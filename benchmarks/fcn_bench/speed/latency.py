"""What benchmarks/latency.py measures: contests at frame sizes, runs of their own beside them, cost curves."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fcn_export.checkpoint_options import checkpoint_options
from fcn_export.quantization.frames import read_frames
from fcnrt import Segmenter
from fcnrt.backends import read_spec
from fcnrt.backends.onnxruntime_cuda import why_not_cuda

from ..data.frame_pool import decode_ms, frame_pool, pool_size
from ..machine import environment, load_average
from ..result_files import now
from ..status import status
from .ceilings import ceilings
from .contenders import CONTENDERS, CannotRun, Frames, Setup
from .contest import contest
from .flops import convolution_flops
from .solo import alone, stacked
from .stages import stage_times
from .throughput import throughput
from .timing import Pace, pace_of, summary, warm_up

THROUGHPUT_ROUNDS = 5
CALIBRATION_FRAMES = 32  # a quarter of them is left out, as the exporter does to judge by


def measure_size(
    options: argparse.Namespace, setup: Setup, names: Sequence[str], height: int, width: int
) -> dict[str, Any]:
    """Everything about one frame size, as it goes into the JSON file."""
    setup = replace(setup, shape=(1, height, width))
    status(f"preparing frames of {height}x{width}")
    frames = frame_pool(options.frames, height, width, max(pool_size(height, width), len(names)))
    made = {
        "height": height,
        "width": width,
        "flops": flops_of(setup),
        "frames": {"source": Path(options.frames).name, "count": len(frames)},
        **contest(names, setup, frames, pace_of(options)),
    }
    return made if options.latency_only else made | _separate_runs(options, setup, frames, made)


def _separate_runs(
    options: argparse.Namespace, setup: Setup, frames: list[Frames], made: dict[str, Any]
) -> dict[str, Any]:
    """Stages and throughput of ours, memory of everybody: nothing of it while latencies are taken."""
    path = options.engine if made["base"] == "ours-engine" else options.model
    frame_ms = next(row["median_ms"] for row in made["rows"] if row["name"] == made["base"])
    pace = Pace(iterations=THROUGHPUT_ROUNDS, idle_ms=options.idleTime)
    status("timing the stages of a call, and throughput")
    with Segmenter(path, device=setup.device, threads=setup.threads) as segment:
        warm_up(segment, frames, options.warmUp)
        stages = stage_times(segment, frames, options.iterations)
        if options.decode:
            stages["decode"] = summary(decode_ms(options.frames, options.iterations))
        modes, absent = throughput(segment, frames, frame_ms, options.batches, options.streams, pace)
    names = [row["name"] for row in made["rows"]]
    memory, failed = _each_alone(names, setup, frames[0])
    return {
        "stages": stages,
        "throughput": {"modes": modes, "absent": absent},
        "memory": {"rows": memory, "absent": failed},
    }


def curve_shapes(options: argparse.Namespace) -> list[tuple[int, int, int]]:
    """(batch, height, width) of all points of the cost curves, each once."""
    across_pixels = [(1, height, width) for height, width in options.curve_sizes]
    across_batch = [(batch, *options.sizes[0]) for batch in options.curve_batches]
    return list(dict.fromkeys([*across_pixels, *across_batch]))


def curve_points(options: argparse.Namespace, setup: Setup, shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Time and memory of some contenders on frames (N, H, W) of one shape, each in a process of its own."""
    setup = replace(setup, shape=shape)
    batch, height, width = shape
    frames = stacked(frame_pool(options.frames, height, width, min(batch, 4)), batch)
    found, absent = _each_alone(options.curve_against, setup, frames)
    found += [{"name": name, "absent": why} for name, why in absent.items()]
    common = {"batch": batch, "height": height, "width": width, "flops": flops_of(setup)}
    return [{**common, **row} for row in found]


def _each_alone(names: Sequence[str], setup: Setup, frames: Frames) -> tuple[list[dict[str, Any]], dict[str, str]]:
    rows, absent = [], {}
    for name in names:
        status(f"running {CONTENDERS[name].title} alone in a process")
        try:
            rows.append({"name": name, **alone(name, setup, frames)})
        except CannotRun as error:
            absent[name] = str(error)
    return rows, absent


def flops_of(setup: Setup) -> int | None:
    """The convolutions' operations for a setup's frames; None where the file does not tell."""
    try:
        return convolution_flops(setup.model, *setup.shape)
    except ValueError:
        return None


def setup_of(options: argparse.Namespace, folder: Path) -> Setup:
    """What contenders are made from."""
    on_gpu = options.device == "cuda" or (options.device == "auto" and (options.engine or not why_not_cuda()))
    given = {name: getattr(options, name) for name in ("model", "threads", "checkpoint", "engine", "int8")}
    given["calibration"] = _calibration(options.calibration)
    given["reading"] = checkpoint_options(options)
    return Setup(shape=(1, *options.sizes[0]), device="cuda" if on_gpu else "cpu", folder=folder, **given)


def _calibration(where: Path | None) -> list[Frames]:
    if where is None:
        return []
    return [frame[None] for frame in read_frames(where, CALIBRATION_FRAMES).calibration]


def head(options: argparse.Namespace, setup: Setup, command: list[str]) -> dict[str, Any]:
    """What holds for the whole file: machine, model, settings."""
    spec = read_spec(setup.model)
    facts = {name: getattr(spec, name) for name in ("family", "variant", "precision")}
    return {
        "benchmark": "latency",
        "command": command,
        "date": now(),
        "environment": {**environment(), "threads": setup.threads},
        "device": setup.device,
        "model": {**_file_facts(setup.model), **facts, "classes": len(spec.classes), "tail": asdict(spec.tail)},
        "checkpoint": _file_facts(setup.checkpoint),
        "engine": _file_facts(setup.engine),
        "int8": _file_facts(setup.int8),
        "calibration_frames": len(setup.calibration),
        "pace": asdict(pace_of(options)),
        "ceilings": {"before": ceilings(setup.device, setup.threads)},
        "load_average": {"before": load_average()},
        "sizes": [],
        "curve": [],
    }


def _file_facts(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    content = path.read_bytes()
    return {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
