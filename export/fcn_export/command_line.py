"""What the command lines of several scripts have in common; imports nothing heavy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from fcnrt import __version__
from fcnrt.contract.interrupts import INTERRUPTED, raise_on_sigterm
from fcnrt.errors import FcnrtError, one_line


def run_command(
    program: str,
    work: Callable[[], object],
    *,
    refusals: tuple[type[Exception], ...] = (),
    interruption: str | Callable[[], str] = "interrupted; nothing was written",
) -> int:
    """Do the work of a command line; what goes wrong becomes one line on stderr.

    Args:
        program: the script's name, for that line.
        work: gives False where it found what its user was to be warned of, and has said so.
        refusals: errors that it refuses with, besides fcnrt's and the operating system's.
        interruption: what to say of files after Ctrl-C or SIGTERM, or what finds out.

    Returns:
        The exit status: 0, 1 for a refusal or a warning, 130 for an interrupt.
    """
    raise_on_sigterm()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names in any script, any terminal
    try:
        return 1 if work() is False else 0
    except (FcnrtError, OSError, MemoryError, *refusals) as error:
        line = one_line(error) or "out of memory"
    except ModuleNotFoundError as error:
        line = f"needs {error.name}, which is not installed; pip install {error.name}"
    except KeyboardInterrupt:
        after_echo = "\n" if sys.stderr.isatty() else ""  # of ^C, or a progress bar
        said = interruption if isinstance(interruption, str) else interruption()
        print(f"{after_echo}{program}: {said}", file=sys.stderr)
        return INTERRUPTED
    print(f"{program}: {line}", file=sys.stderr)
    return 1


def tool(program: str) -> str:
    """The name and version of a script, as files made by it tell."""
    return f"fcnrt {program} {__version__}"


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add `--version`, which is that of all packages here."""
    parser.add_argument("--version", action="version", version=tool(Path(parser.prog).stem))


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


def _fraction(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"expected a number such as 1/255 or 1, got {text!r}") from None
