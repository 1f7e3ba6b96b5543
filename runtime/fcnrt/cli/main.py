"""The one command, `fcnrt`, also as `python -m fcnrt`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from .. import __version__
from ..contract.arguments import Parser
from ..contract.interrupts import INTERRUPTED, heeded_interrupts
from ..contract.pipes import READER_GONE, silence
from ..errors import FcnrtError, one_line
from . import batch, info, seal, segment, serve, tune
from .scripts import SCRIPTS, run_script
from .terminal import INTERRUPTION, warnings_in_lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, 1 for an error (one line on stderr), 2 for wrong arguments, 130 for an interrupt, 141 where
        the reader of stdout went away.
    """
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if words[0] == "help":
        words = [*words[1:2], "--help"]
    _open_streams()
    if words[0] in SCRIPTS:
        return run_script(words[0], words[1:])
    options = _parser().parse_args(words)
    with _Interrupts() as interrupts, warnings_in_lines():
        options.interrupted = lambda: interrupts.count > 0
        try:
            status = int(options.run(options))
            sys.stdout.flush()
            return status
        except BrokenPipeError:  # `| head` has seen enough
            silence(sys.stdout)
            return READER_GONE
        except (FcnrtError, OSError, MemoryError) as error:
            if not interrupts.count:  # else it may be what an import made of the interrupt
                print(f"fcnrt: {one_line(error) or 'out of memory'}", file=sys.stderr)
                return 1
        except KeyboardInterrupt:
            pass
    print(INTERRUPTION, file=sys.stderr)
    return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="fcnrt", description="Per-pixel labels on live video from trained FCN checkpoints.")
    parser.add_argument("--version", action="version", version=f"fcnrt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands, each with --help")
    segment.add_arguments(commands.add_parser("segment", help="label pictures, videos and streams"))
    serve.add_arguments(commands.add_parser("serve", help="label what clients send over HTTP"))
    batch.add_arguments(commands.add_parser("batch", help="label an archive by several processes; again, the rest"))
    info.add_arguments(commands.add_parser("info", help="print what a model file says of itself"))
    tune.add_arguments(commands.add_parser("tune", help="find the fastest engine of the CPU for a model, and keep it"))
    seal.add_arguments(commands.add_parser("seal", help="take a model file that was changed on purpose as it is"))
    for name, (_, _, purpose) in SCRIPTS.items():
        commands.add_parser(name, help=purpose)  # for the list: it is run before this parser is asked
    return parser


def _open_streams() -> None:
    """Make both standard streams usable: they are None where a service closed them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (open until the end)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names in any script, any terminal


class _Interrupts:
    """Ctrl-C and SIGTERM: the first ends the run as KeyboardInterrupt, so that nothing half-written stays.

    The second, often the same key held down, must not disturb that; the third ends the process on the spot.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> _Interrupts:
        self._before = {number: signal.signal(number, self._count) for number in heeded_interrupts()}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.count else handler)  # ignored while Python ends itself

    def _count(self, number: int, frame: object) -> None:
        self.count += 1
        if self.count == 1:
            raise KeyboardInterrupt
        if self.count == 3:
            os._exit(INTERRUPTED)
