"""INT8 as a step of to_onnx.py: its flags, its frames, its lines in the report."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcnrt.contract.precision import Precision
from fcnrt.errors import print_line

from ..errors import ExportError

if TYPE_CHECKING:
    from onnx import ModelProto

    from fcnrt.contract.types import UInt8Array

    from ..families import Fcn
    from .choice import Quantisation
    from .frames import CalibrationFrames

FRAMES = 64
MANY = 4096


def add_flags(parser: Any) -> None:
    """Add what `--precision int8` needs."""
    add = parser.add_argument
    add("--calibration", type=Path, metavar="FRAMES", help="int8: folder of pictures, video, or data set to measure on")
    add(
        "--calibration-frames", type=_count, default=FRAMES, metavar="N",
        help=f"int8: frames to take of them, a quarter held out to judge by ({FRAMES})",
    )  # fmt: skip
    add(
        "--keep-float",
        nargs="+",
        default=[],
        metavar="NAME",
        help="int8: convolutions that stay float32, by (part of) name",
    )


def calibration_frames(options: argparse.Namespace) -> CalibrationFrames | None:
    """The frames to calibrate with; None for another precision than int8.

    Raises:
        ExportError: they are missing, or given for another precision.
    """
    if options.precision != Precision.INT8:
        given = [
            flag
            for flag, value in (("--calibration", options.calibration), ("--keep-float", options.keep_float))
            if value
        ]
        if given:
            raise ExportError(f"{given[0]}: is for int8, got --precision {options.precision}; add --precision int8")
        return None
    if options.calibration is None:
        raise ExportError(
            "--precision int8: the ranges of activations are measured on frames like those to come; add --calibration "
            "with a folder of pictures, a video, or a data set"
        )
    from .frames import read_frames

    return read_frames(options.calibration, options.calibration_frames)


def quantise(
    model: ModelProto, net: Fcn, frames: CalibrationFrames, options: argparse.Namespace, fixed: Mapping[str, int]
) -> Quantisation:
    """The int8 form of a float32 model; raises ExportError where labels do not survive it."""
    from . import choice

    batches = partial(_batches, color=options.color, fixed=fixed, least=net.min_size)
    return choice.quantise(model, frames, batches, options.keep_float)


def report(made: Quantisation, frames: CalibrationFrames) -> None:
    """Print what became int8, by which frames, and what it costs."""
    from .choice import USUAL

    print_line(f"  int8       {len(made.layers)} convolutions, {len(made.kept)} of the body kept in float32")
    if made.kept:
        print_line(f"             kept: {', '.join(made.kept)}")
    print_line(f"  calibrated on {len(frames.calibration)} frames of {frames.where}")
    print_line(
        f"  held out   {made.agreement:.4%} of {made.pixels} labels of {len(frames.held_out)} frames equal float32's"
    )
    notes = list(frames.notes)
    if made.agreement < USUAL:
        notes.append(f"trained networks keep {USUAL:.0%}: compare mIoU before you rely on this file")
    for note in notes:
        print_line(f"  caution    {note}")


def _batches(frames: Sequence[UInt8Array], *, color: str, fixed: Mapping[str, int], least: int) -> Iterator[UInt8Array]:
    """Frames as a model takes them: (N, H, W, 3) in its channel order, resized where its size is fixed."""
    import numpy as np
    from tqdm import tqdm

    for frame in tqdm(frames, desc="int8", unit="frame", leave=False, disable=None):
        sized = _resized(frame, fixed)
        if min(sized.shape[:2]) < least:
            raise ExportError(
                f"--calibration: expected frames from {least}x{least} up, got {sized.shape[0]}x{sized.shape[1]}"
            )
        ordered = sized if color == "rgb" else sized[..., ::-1]
        yield np.ascontiguousarray(np.broadcast_to(ordered, (fixed.get("batch", 1), *ordered.shape)))


def _resized(frame: UInt8Array, fixed: Mapping[str, int]) -> UInt8Array:
    height, width = fixed.get("height", frame.shape[0]), fixed.get("width", frame.shape[1])
    if (height, width) == frame.shape[:2]:
        return frame
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MANY:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MANY}, got {text!r}")
    return int(text)
