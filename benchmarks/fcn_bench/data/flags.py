"""The flags of a command line that name a data set and say what it does not tell itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fcnrt.pictures.palette import PALETTE_NAMES

from .datasets import KINDS, SCENES
from .stated import CLASSES_FILE, PALETTE_FILE, Colour, Stated


def add_data_flags(parser: Any) -> None:
    """Add --data, --kind, and the flags of `stated_by` to a command line."""
    add = parser.add_argument
    add("--data", required=True, help=f"root of a tree ({', '.join(KINDS)}), a folder of pictures, or {SCENES}")
    add("--kind", choices=KINDS, help="of the tree, instead of recognising it")
    add("--classes", metavar="NAMES", help=f"file of class names, one a line ({CLASSES_FILE} in the tree, if there)")
    add(
        "--palette",
        metavar="COLOURS",
        help=f"file of 'R G B' lines, also of RGB masks, or {', '.join(PALETTE_NAMES)} ({PALETTE_FILE} in the tree)",
    )
    add("--masks", type=Path, metavar="FOLDER", help="of the masks, where --data is a folder of pictures")
    add("--label-values", type=_whole_numbers, default=(), metavar="A,B", help="in masks of each class (0,1,2,...)")
    add(
        "--void",
        type=_value_or_colour,
        action="append",
        metavar="V|R,G,B",
        help="also not annotated, beside 255; may be repeated",
    )
    add("--holdout", type=_share, metavar="SHARE", help="of the samples to validate on, such as 0.1")


def stated_by(options: argparse.Namespace) -> Stated:
    """What the flags of `add_data_flags` say."""
    void = tuple(options.void or ())
    return Stated(options.classes, options.palette, options.masks, options.label_values, void, options.holdout)


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,255, got {text!r}")
    return tuple(int(part) for part in parts)


def _value_or_colour(text: str) -> int | Colour:
    numbers = _whole_numbers(text)
    if len(numbers) not in (1, 3) or max(numbers) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"expected a value such as 255 or a colour such as 0,0,0, got {text!r}")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, such as 0.1, got {text!r}")
    return value
