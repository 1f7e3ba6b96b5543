"""Time a model against everything else that could label the same frames, side by side in one run.

python benchmarks/latency.py model.onnx --checkpoint model.pth --sizes 480x640 720x1280
python benchmarks/latency.py model.onnx --checkpoint model.pth --against torch ort-textbook openvino
python benchmarks/latency.py model.onnx --int8 model-int8.onnx --calibration frames/ --against ours ort --judge camvid

Timed: host frames in, host labels out (uint8, full size), batch 1; decoding is not. Contenders take turns in rounds, on
real frames of which there are more than the last-level cache holds, after a warm-up; ratios are taken within rounds.
Stages, throughput, memory and cost curves are measured in runs of their own, after the latencies.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcn_export.command_line import add_checkpoint_flags, add_version, run_command
from fcnrt.contract.arguments import Parser
from fcnrt.errors import fcnrt_command, print_line, short

from ..arguments import add_output, size, whole_number
from ..data.datasets import DataError
from ..data.frame_pool import decode_ms
from ..machine import load_average
from ..result_files import RESULTS, shown, write_result
from ..speed.accuracy import accuracy, frames_to_judge_on
from ..speed.ceilings import ceilings
from ..speed.contenders import CONTENDERS, CannotRun, selected
from ..speed.latency import Setup, curve_points, curve_shapes, head, measure_size, setup_of
from ..speed.timing import add_pace_flags
from ..status import status, status_line

EPILOG = """--iterations, --duration, --warmUp, --idleTime and --streams mean what they mean to trtexec.
Its --avgRuns is not offered: a round is one run of each, so that ratios are of neighbours in time."""


def main(argv: list[str] | None = None, program: str = "latency.py") -> int:
    """Run the command line.

    Returns:
        exit status: 0, 1 where nothing can be measured, 2 for wrong arguments, 130 after Ctrl-C.
    """
    options = _parser(program).parse_args(argv)
    output = options.output or RESULTS / f"latency-{options.model.stem}.json"
    return run_command(
        program,
        lambda: run(options, command_of(sys.argv[1:] if argv is None else argv), output),
        refusals=(CannotRun, DataError, ValueError),
        interruption=f"interrupted; what was finished is in {output}",
    )


def run(options: argparse.Namespace, command: list[str], output: Path) -> dict[str, Any]:
    """Measure what the options ask for and write it, after each size, so that little is lost if the run is broken off.

    Args:
        options: of the command line.
        command: to repeat it with.
        output: the JSON file.

    Returns:
        What was written.

    Raises:
        FcnrtError, OSError, ValueError: model, frames or options do not fit.
        CannotRun: there is nothing of ours to measure.
    """
    with tempfile.TemporaryDirectory() as folder, status_line():
        return _run(options, setup_of(options, Path(folder)), command, output)


def _run(options: argparse.Namespace, setup: Setup, command: list[str], output: Path) -> dict[str, Any]:
    names = selected(options.against)
    if options.decode:
        decode_ms(options.frames, 1)  # what cannot be decoded shall not be found out after an hour
    judged_on = frames_to_judge_on(options.judge, setup.model) if options.judge else None
    result = head(options, setup, command)
    _print_head(result)
    for height, width in options.sizes:
        result["sizes"].append(measure_size(options, setup, names, height, width))
        _print_size(result["sizes"][-1])
        write_result(result, output)
    if judged_on is not None:
        ran = [row["name"] for row in result["sizes"][0]["rows"] if row["gives"] == "labels"]
        result["accuracy"] = accuracy(ran, setup, judged_on)
        _print_accuracy(result["accuracy"])
        write_result(result, output)
    for shape in curve_shapes(options):
        points = curve_points(options, setup, shape)
        _print_points(points)
        result["curve"] += points
        write_result(result, output)
    result["ceilings"]["after"] = ceilings(setup.device, setup.threads)
    result["load_average"]["after"] = load_average()
    status()
    write_result(result, output)
    print_line(f"wrote {short(output)}")
    print_line(f"next: {fcnrt_command('report')}")
    return result


def command_of(argv: Sequence[str]) -> list[str]:
    """The command line to repeat a run with; of paths the name alone, folders are somebody's own."""
    return ["benchmarks/latency.py", *shown(argv)]


def _print_head(result: dict[str, Any]) -> None:
    status()
    machine, best = result["environment"], result["ceilings"]["before"]
    gpu = machine["gpu"]["name"] if machine["gpu"] else "no GPU"
    print(
        f"machine   {machine['cpu']}, {machine['cores']} cores, {gpu}; {machine['threads']} threads, {result['device']}"
    )
    print("ceilings  " + ", ".join(f"{name} {rate:.0f}" for name, rate in best.items()) + " (GFLOP/s; copy GB/s)")
    print(f"load      {result['load_average']['before']}: processes that wanted a core in the last minute", flush=True)


def _print_size(made: dict[str, Any]) -> None:
    status()
    print(f"\n{made['height']}x{made['width']}, {made['frames']['count']} frames, labels against {made['reference']}")
    print(f"{'':22}{'':6}{'median':>9}{'p90':>9}{'p99':>9}  {'times ours (p10 to p90)':24}equal labels")
    for row in made["rows"]:
        ratio = row["times_ours"]
        times = "{median:.2f} ({p10:.2f} to {p90:.2f})".format(**ratio) if ratio else ""
        equal = "scores only" if row["equal_to_reference"] is None else f"{row['equal_to_reference']:.4%}"
        milliseconds = "".join(f"{row[key]:9.2f}" for key in ("median_ms", "p90_ms", "p99_ms"))
        print_line(f"{row['name']:22}{row['precision']:6}{milliseconds}  {times:24}{equal}")
    for name, reason in made["absent"].items():
        print_line(f"{name:22}not run: {reason}")
    for name, figures in made.get("stages", {}).items():
        print(f"  stage {name:16}{figures['median_ms']:9.3f} ms")
    for mode in made.get("throughput", {}).get("modes", ()):
        print_line(f"  {mode['mode']:22}{mode['fps']['median']:9.2f} frames per second")
    for row in made.get("memory", {}).get("rows", ()):
        print_line(f"  {row['name']:22}{row['host_mib'] or float('nan'):9.0f} MiB of host memory at most")
    sys.stdout.flush()


def _print_accuracy(made: dict[str, Any]) -> None:
    status()
    print(f"\n{made['frames']} frames of {made['data']}")
    print(f"{'':22}{'mIoU':>9}  labels equal to ours")
    for row in made["rows"]:
        print_line(f"{row['name']:22}{row['mean_iou']:9.2%}  {row['equal_to_ours']:.4%}")
    sys.stdout.flush()


def _print_points(points: Sequence[dict[str, Any]]) -> None:
    status()
    times = ", ".join(f"{point['name']} {point['median_ms']:.1f} ms" for point in points if "median_ms" in point)
    print("  {batch}x{height}x{width}: ".format(**points[0]) + times, flush=True)


def _parser(program: str = "latency.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__, epilog=EPILOG)
    add_version(parser)
    add = parser.add_argument
    add("model", type=Path, help="exported .onnx file")
    add("--checkpoint", type=Path, help="what it was exported from: for the torch contenders and the textbook script")
    add("--engine", type=Path, help="TensorRT engine built from the model")
    add("--int8", type=Path, metavar="FILE", help="the checkpoint's INT8 file, as another mode of ours")
    add("--calibration", type=Path, metavar="PATH", help="frames for contenders that quantise the model themselves")
    add("--sizes", type=size, nargs="+", default=[(480, 640)], metavar="HxW", help="of the frames (480x640)")
    add(
        "--against",
        nargs="*",
        default=["all"],
        metavar="NAME",
        help=f"all, torch, ort, openvino, or of {', '.join(CONTENDERS)}",
    )
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="of all contenders (the GPU if there is one)")
    add("--threads", type=whole_number, default=os.cpu_count(), metavar="N", help="on the CPU (all cores)")
    add("--frames", default="scenes", metavar="PATH", help="folder, pattern or video; or scenes, which are generated")
    add_output(parser, "results/latency-MODEL.json")
    add_pace_flags(parser)
    _add_separate_flags(parser)
    add_checkpoint_flags(parser.add_argument_group("checkpoint, as for export/to_onnx.py"))
    return parser


def _add_separate_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("separate runs").add_argument
    add("--judge", metavar="DATA", help="annotated data set, on whose val frames contenders are judged by mean IoU")
    add("--decode", action="store_true", help="also the time to decode a frame of --frames")
    add("--latency-only", action="store_true", help="no stages, throughput and memory")
    add("--batches", type=whole_number, nargs="*", default=[2, 4], metavar="N", help="batch sizes (2 4)")
    add("--streams", type=whole_number, nargs="*", default=[2], metavar="N", help="threads with a clone each (2)")
    add("--curve-sizes", type=size, nargs="*", default=[], metavar="HxW", help="for time and memory against pixels")
    add("--curve-batches", type=whole_number, nargs="*", default=[], metavar="N", help="the same against the batch")
    add(
        "--curve-against",
        nargs="+",
        default=["ours", "ort-graph"],
        choices=CONTENDERS,
        metavar="NAME",
        help="whose curves (ours ort-graph)",
    )
