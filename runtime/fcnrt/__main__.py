"""The command line: `fcnrt segment` and `fcnrt info`, also as `python -m fcnrt`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from . import __version__, command_info, command_segment
from .errors import FcnrtError
from .terminal import one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the status is 0, 1 for an error (one line on stderr), 2 for wrong arguments."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names in any script, any terminal
    try:
        return int(options.run(options))
    except (FcnrtError, OSError, MemoryError) as error:
        print(f"fcnrt: {one_line(error) or 'out of memory'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fcnrt: interrupted; the files written so far are whole", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fcnrt", description="Per-pixel labels from exported FCN checkpoints.")
    parser.add_argument("--version", action="version", version=f"fcnrt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command_segment.add_arguments(commands.add_parser("segment", help="label pictures, videos and streams"))
    command_info.add_arguments(commands.add_parser("info", help="print what a model file says of itself"))
    return parser


def _terminate(signum: int, frame: object) -> None:
    """End as by Ctrl-C, so that nothing half-written stays."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
