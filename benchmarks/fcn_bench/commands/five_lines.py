"""What "five lines of ONNX Runtime" cost in mean IoU where they prepare frames otherwise than the training did.

python benchmarks/five_lines.py model.pth --data CamVid

The checkpoint's own network in torch, float32, labels the same frames as it was trained to, and with each slip.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fcn_export.checkpoint_options import checkpoint_options
from fcn_export.checkpoints.opening import open_checkpoint
from fcn_export.command_line import add_checkpoint_flags, add_version, run_command
from fcn_export.families import Fcn, InputContract
from fcnrt.contract.arguments import Parser
from fcnrt.errors import print_line, short

from ..arguments import add_output, whole_number
from ..data.datasets import DataError
from ..data.flags import add_data_flags, stated_by
from ..data.measured_frames import MeasuredFrames
from ..machine import environment
from ..metrics import ConfusionMatrix
from ..parity.slips import AS_TRAINED, SLIPS, Slip, labels_with
from ..report.markdown import slip_table
from ..result_files import RESULTS, now, shown, write_result

PACKAGES = ("numpy", "torch")


class Tally:
    """What one slip costs, counted over frames."""

    def __init__(self, slip: Slip, classes: int) -> None:
        self.slip, self._matrix = slip, ConfusionMatrix(classes)
        self._equal = self._pixels = 0

    def add(self, labels_hw: Any, right_hw: Any, truth_hw: Any) -> None:
        """Count a frame: labels with the slip, labels as trained, and the truth, all (H, W)."""
        self._matrix.update(labels_hw, truth_hw)
        self._equal += int(np.count_nonzero(labels_hw == right_hw))
        self._pixels += labels_hw.size

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.slip.title,
            "mean_iou": self._matrix.mean_iou(),
            "pixel_accuracy": self._matrix.pixel_accuracy(),
            "equal_labels": self._equal / self._pixels,
        }


def main(argv: list[str] | None = None, program: str = "five_lines.py") -> int:
    """Run the command line; the exit status is 0, 1 for a refusal (one line on stderr), 2 for wrong arguments."""
    options = _parser(program).parse_args(argv)
    options.command = shown(sys.argv[1:] if argv is None else argv)
    return run_command(program, lambda: measure(options), refusals=(DataError,))


def measure(options: argparse.Namespace) -> None:
    """Measure every slip, print the table, write the result.

    Raises:
        ExportError: the checkpoint cannot be read or recognised.
        DataError: the data cannot be read, are not annotated, or have other classes.
        OSError: the result cannot be written.
    """
    frames = MeasuredFrames(options.data, options.split, options.kind, options.limit, stated_by(options))
    net, contract, sha256 = _network(options)
    if frames.classes is None or len(frames.classes) != net.classes:
        raise DataError(f"{options.data}: expected annotated frames of the checkpoint's {net.classes} classes")
    tallies = _tallied(frames, net, contract)
    checkpoint = {"name": Path(options.checkpoint).name, "sha256": sha256, "network": f"{net.family} {net.variant}"}
    result = {
        "benchmark": "five-lines",
        "date": now(),
        "command": ["benchmarks/five_lines.py", *options.command],
        "environment": {**environment(PACKAGES), "threads": torch.get_num_threads()},
        "data": {"name": frames.name, "frames": len(frames), "sha256": frames.sha256},
        "checkpoint": checkpoint,
        "rows": [tally.as_json() for tally in tallies],
    }
    for line in slip_table(result):
        print_line(line)
    output = options.output or RESULTS / "five-lines.json"
    write_result(result, output)
    print_line(f"wrote {short(output)}")


def _network(options: argparse.Namespace) -> tuple[Fcn, InputContract, str]:
    opened = open_checkpoint(options.checkpoint, checkpoint_options(options))
    return opened.net, opened.contract, opened.checkpoint.sha256


def _tallied(frames: MeasuredFrames, net: Fcn, contract: InputContract) -> list[Tally]:
    tallies = [Tally(slip, net.classes) for slip in SLIPS]
    for frame in tqdm(frames, unit="frame", disable=None, leave=False):
        right_hw = labels_with(AS_TRAINED, net, contract, frame.frame_hwc)
        for tally in tallies:
            labels_hw = (
                right_hw if tally.slip is AS_TRAINED else labels_with(tally.slip, net, contract, frame.frame_hwc)
            )
            tally.add(labels_hw, right_hw, frame.truth_hw)
    return tallies


def _parser(program: str = "five_lines.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__)
    add_version(parser)
    add = parser.add_argument
    add("checkpoint", help="checkpoint file")
    add_data_flags(parser)
    add("--split", default="val", help="of the data set (val)")
    add("--limit", type=whole_number, metavar="N", help="N frames, evenly spread (all)")
    add_output(parser, "results/five-lines.json")
    add_checkpoint_flags(parser.add_argument_group("where the checkpoint cannot tell"))
    return parser
