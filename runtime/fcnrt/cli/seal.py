"""`fcnrt seal`: take a model file that was changed on purpose as it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backends import seal_model
from ..contract.certificate import measure
from ..errors import print_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt seal`."""
    parser.add_argument("model", type=Path, help="an .onnx or .engine file that was changed on purpose")
    parser.set_defaults(run=seal)


def seal(options: argparse.Namespace) -> int:
    """Write the digest of what a file is now into it."""
    certified = seal_model(options.model)
    print_line(f"{options.model}: sealed as it is")
    if certified:
        print_line(f"  its certificate was of what it was before, and is taken away; {measure()}")
    return 0
