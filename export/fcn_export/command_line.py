"""What the command lines of several scripts have in common; imports nothing heavy."""

from __future__ import annotations

import argparse
import signal
from fractions import Fraction
from typing import Any


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM raise KeyboardInterrupt from now on, so that nothing half-written stays."""
    signal.signal(signal.SIGTERM, _interrupt)


def add_checkpoint_flags(parser: Any) -> None:
    """Add what a checkpoint cannot tell, or may not without being asked.

    Args:
        parser: an argparse parser, or a group of one.
    """
    add = parser.add_argument
    add("--family", help="name the family instead of recognising it by keys")
    add("--variant", help="name the variant where the keys cannot tell, e.g. fcn8s or fcn8s-atonce")
    add("--input-scale", type=_fraction, metavar="1/255|1", help="what frames were multiplied by in training")
    add("--trust-pickle", action="store_true", help="read a whole-module pickle (none of its code is run)")


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _fraction(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"expected a number such as 1/255 or 1, got {text!r}") from None
