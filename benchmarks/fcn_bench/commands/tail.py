"""Time the last step, small scores to full-size labels, on the CPU: ours, ONNX Runtime, torch, numpy.

python benchmarks/tail.py

Timed: host scores in, host labels out, batch 1, float32. Not timed: making sessions and geometry.
Contenders take turns, each on scores that it has not seen for longer than the last-level cache remembers;
ratios are taken within a round. Scores come from drawn scenes: the share of mixed tiles, on which our time
depends, is printed with every row, and one row of pure noise shows the worst case.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from fcn_export.command_line import add_version, run_command
from fcnrt.contract.arguments import Parser
from fcnrt.errors import print_line, short

from ..arguments import add_output, whole_number
from ..machine import environment
from ..result_files import RESULTS, now, shown, write_result
from ..speed.tail import cases, measure
from ..speed.tail_contenders import OURS, RIVALS
from ..speed.tail_scores import Case
from ..status import status, status_line

PACKAGES = ("numpy", "onnxruntime-gpu", "onnxruntime", "torch")


def main(argv: list[str] | None = None, program: str = "tail.py") -> int:
    """Run the command line; 0, 1 where the result cannot be written, 2 for wrong arguments, 130 after Ctrl-C."""
    options = _parser(program).parse_args(argv)
    command = ["benchmarks/tail.py", *shown(sys.argv[1:] if argv is None else argv)]
    return run_command(program, lambda: run(options, command))


def run(options: argparse.Namespace, command: list[str]) -> None:
    """Measure, print and write the result; raises OSError."""
    threads = {"onnxruntime": options.threads, "torch": options.threads, "fcnrt": "1, and numpy's BLAS its own"}
    machine = {**environment(PACKAGES), "threads": threads}
    for key, value in machine.items():
        print(f"{key}: {value}")
    print("\nmedian ms per frame; (times ours, median of rounds, 10th to 90th percentile); float32, 21 classes")
    with status_line():
        rows = [_measured(case, options) for case in cases(options.quick)]
    output = options.output or RESULTS / "tail.json"
    result = {"benchmark": "tail", "command": command, "date": now(), "environment": machine, "rows": rows}
    write_result(result, output)
    print_line(f"wrote {short(output)}")


def _measured(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    status(f"drawing scores for {case.height}x{case.width} at stride {case.stride}")
    row = measure(case, options.rounds, options.threads)
    status()
    _print_row(row)
    return row


def _print_row(row: dict[str, Any]) -> None:
    case, ms = row["case"], row["median_ms"]
    mixed = "" if row["mixed_tiles"] is None else f", {row['mixed_tiles']:.1%} of tiles mixed"
    print(f"\n{case['kind']} stride {case['stride']}, {case['height']}x{case['width']}, {case['content']}{mixed}")
    for name, median in ms.items():
        ratio = "({:.1f}x, {:.1f} to {:.1f})".format(*row["times_ours"][name]) if name != OURS else ""
        print(f"  {name:12} {median:9.2f} ms  equal {row['equal_to_reference'][name]:.4%}  {ratio}")
    rivals = [row["times_ours"][name][0] for name in RIVALS if name in ms]
    if rivals:
        print(f"  best of {' and '.join(RIVALS)} / {OURS}: {min(rivals):.1f}")
    for name, reason in row["absent"].items():
        print(f"  {name:12} absent: {reason}")


def _parser(program: str = "tail.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__)
    add_version(parser)
    add = parser.add_argument
    add("--rounds", type=whole_number, default=30, metavar="N", help="timed rounds per row (30)")
    add("--threads", type=whole_number, default=os.cpu_count(), metavar="N", help="of ONNX Runtime and torch (all)")
    add("--quick", action="store_true", help="480x640 at stride 8 only")
    add_output(parser, "results/tail.json")
    return parser
