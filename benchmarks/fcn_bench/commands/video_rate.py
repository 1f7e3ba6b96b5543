"""How near a pipeline comes to its slowest stage alone: decode, segment, draw and encode, side by side.

python benchmarks/video_rate.py model.onnx --sizes 480x640 720x1280
python benchmarks/video_rate.py model.onnx --video street.mp4

In each round the same clip passes through every stage alone, through the pipeline, and through a plain loop that does
one thing after the other. Two networks: the model itself, and a stand-in that keeps a frame as long as --wait says and
leaves the processor alone, as a GPU does; with it the rest of the pipeline shows what it costs. Nothing is timed
against a warm cache: all frames of the clip are decoded anew each time.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from fcn_export.command_line import add_version, run_command
from fcnrt.contract.arguments import Parser
from fcnrt.errors import print_line, short

from ..arguments import add_output, size, whole_number
from ..machine import environment, load_average
from ..result_files import RESULTS, now, shown, write_result
from ..speed.video_rate import rows
from ..status import status, status_line

PACKAGES = ("av", "numpy", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx")


def main(argv: list[str] | None = None, program: str = "video_rate.py") -> int:
    """Run the command line; the exit status is 0, 1 for an error (one line on stderr), 2 for wrong arguments."""
    options = _parser(program).parse_args(argv)
    command = ["benchmarks/video_rate.py", *shown(sys.argv[1:] if argv is None else argv)]
    return run_command(program, lambda: measure(options, command))


def measure(options: argparse.Namespace, command: list[str]) -> None:
    """Measure, print and write the result.

    Raises:
        FcnrtError: the model or a video cannot be used.
        OSError: the result cannot be written.
    """
    result = {
        "benchmark": "video-rate",
        "command": command,
        "date": now(),
        "environment": {**environment(PACKAGES), "threads": options.threads or os.cpu_count()},
        "rows": [],
    }
    print(f"load average {load_average()}; rates in frames per second, medians of {options.iterations} rounds")
    with status_line():
        for row in rows(options):
            result["rows"].append(row)
            status()
            _print(row)
    output = options.output or RESULTS / "video-rate.json"
    write_result(result, output)
    print_line(f"wrote {short(output)}")


def _print(row: dict[str, Any]) -> None:
    rates = ", ".join(f"{name} {fps:.1f}" for name, fps in row["fps"].items())
    print(f"{row['size'][0]}x{row['size'][1]}, {row['network']}: {rates}")
    for key, text in (("of_slowest_stage", "of its slowest stage alone"), ("of_loop", "times the plain loop")):
        found = row[key]
        print(f"  the pipeline runs at {found['median']:.3f} {text} ({found['p10']:.3f} to {found['p90']:.3f})")


def _parser(program: str = "video_rate.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__)
    add_version(parser)
    add = parser.add_argument
    add("model", type=Path, help="exported .onnx file or engine")
    add("--sizes", type=size, nargs="+", default=[(480, 640)], metavar="HxW", help="of drawn clips (480x640)")
    add("--frames", type=whole_number, default=50, metavar="N", help="of drawn clips (50)")
    add("--video", type=Path, help="a clip to take instead")
    add("--wait", type=float, default=20.0, metavar="MS", help="how long the stand-in keeps a frame (20)")
    add("--iterations", type=whole_number, default=10, metavar="N", help="rounds (10)")
    add("--threads", type=whole_number, metavar="N", help="of the network on the CPU (all cores)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    add_output(parser, "results/video-rate.json")
    return parser
