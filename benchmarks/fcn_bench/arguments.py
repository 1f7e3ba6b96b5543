"""Types of command line arguments that the scripts here share: argparse prints their words and exits with 2."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fcnrt.cli.argument_types import positive as whole_number
from fcnrt.cli.argument_types import size

__all__ = ["add_output", "amount", "size", "span", "whole_number"]


def add_output(parser: Any, usual: str) -> None:
    """Add -o: the JSON file to write, `usual` in words."""
    parser.add_argument("-o", "--output", "--json", type=Path, metavar="FILE", help=f"JSON to write ({usual})")


def amount(text: str) -> float:
    """A number from 0 up."""
    return _number(text, text, "a number from 0 up")


def span(text: str) -> tuple[float, float]:
    """Two numbers above 0, the smaller first, with a comma between them."""
    expected = "two numbers such as 0.5,2"
    low, _, high = text.partition(",")
    bounds = _number(low, text, expected), _number(high, text, expected)
    if not 0 < bounds[0] <= bounds[1]:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return bounds


def _number(part: str, text: str, expected: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value
