"""What the command lines of several scripts have in common; imports nothing heavy."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcnrt import __version__
from fcnrt.contract.interrupts import INTERRUPTED, raise_on_sigterm
from fcnrt.contract.pipes import READER_GONE, silence
from fcnrt.errors import FcnrtError, one_line, pip_install

from .checkpoint_options import Triple


def run_command(
    program: str,
    work: Callable[[], object],
    *,
    refusals: tuple[type[Exception], ...] = (),
    interruption: str | Callable[[], str] = "interrupted; nothing was written",
) -> int:
    """Do the work of a command line; what goes wrong becomes one line on stderr.

    Args:
        program: the command, for that line: a script's file name, or `fcnrt export`.
        work: gives False where it found what its user was to be warned of, and has said so.
        refusals: errors that it refuses with, besides fcnrt's and the operating system's.
        interruption: what to say of files after Ctrl-C or SIGTERM, or what finds out.

    Returns:
        The exit status: 0, 1 for a refusal or a warning, 130 for an interrupt, 141 where what reads stdout went away.
    """
    raise_on_sigterm()
    program = program.removesuffix(".py")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names in any script, any terminal
    try:
        status = 1 if work() is False else 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` has seen enough
        silence(sys.stdout)
        return READER_GONE
    except (FcnrtError, OSError, MemoryError, *refusals) as error:
        line = one_line(error) or "out of memory"
    except ModuleNotFoundError as error:
        line = f"needs {error.name}, which is not installed: {pip_install(str(error.name))}"
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
    parser.add_argument("--version", action="version", version=tool(Path(parser.prog).stem.removeprefix("fcnrt ")))


def add_checkpoint_flags(parser: Any) -> None:
    """Add what a checkpoint cannot tell, or may not without being asked.

    Args:
        parser: an argparse parser, or a group of one.
    """
    add = parser.add_argument
    add("--family", help="name the family instead of recognising it by keys")
    add("--variant", help="name the variant where the keys cannot tell, e.g. fcn8s or fcn8s-atonce")
    add("--weights", metavar="KEY", help="which network of several in the file, by its key or prefix, e.g. model_ema")
    add("--output-stride", type=int, choices=(8, 16, 32), help="of a ResNet whose dilation the keys cannot tell")
    add("--align-corners", choices=("yes", "no"), help="of the last upsampling, where the keys cannot tell")
    add("--input-scale", type=_positive, metavar="1/255|1", help="what frames (0-255) were multiplied by in training")
    add("--input-color", choices=("rgb", "bgr"), help="channel order of the frames in training")
    add("--mean", "--input-mean", type=_triple, metavar="A,B,C", help="subtracted after that, channels in that order")
    add("--std", "--input-std", type=_positive_triple, metavar="A,B,C", help="divided by after that")
    add("--trust-pickle", action="store_true", help="read a whole-module pickle (none of its code is run)")


def _triple(text: str) -> Triple:
    """Three numbers, or one for all three channels; each may be a fraction such as 104/255."""
    numbers = [_number(word) for word in text.replace(",", " ").split()]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"expected three numbers such as 0.485,0.456,0.406, got {text!r}")
    return numbers[0], numbers[1], numbers[2]


def _positive_triple(text: str) -> Triple:
    numbers = _triple(text)
    if min(numbers) <= 0:
        raise argparse.ArgumentTypeError(f"expected numbers above 0, got {text!r}")
    return numbers


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _number(text: str) -> float:
    whole, _, divisor = text.partition("/")
    try:
        value = float(whole) / float(divisor or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number such as 1/255 or 1, got {text!r}")
    return value
