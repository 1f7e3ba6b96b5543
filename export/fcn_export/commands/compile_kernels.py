"""Compile the GPU kernels ahead of time into records that a runtime without a compiler can launch.

python export/compile_kernels.py -o runtime/fcnrt/gpu/packs
python export/compile_kernels.py -o kernels --sm 87 89

Needs Triton, but neither a GPU nor torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fcnrt.contract.arguments import Parser
from fcnrt.contract.files import write_json
from fcnrt.errors import print_line

from ..command_line import add_version, run_command
from ..kernels.compiling import CAPABILITIES, compile_kernels


def main(argv: list[str] | None = None, program: str = "compile_kernels.py") -> int:
    """Run the command line; the exit status is 0, 1 for a refusal (one line on stderr), 2 for wrong arguments."""
    options = _parser(program).parse_args(argv)
    return run_command(
        program,
        lambda: write_packs(options.output, options.sm),
        interruption="interrupted; finished files stay",
    )


def write_packs(folder: Path, sms: Sequence[int]) -> None:
    """Compile the kernels for each compute capability into a file of its own.

    Raises:
        ExportError: Triton is missing or cannot compile them.
        OSError: the folder cannot be written.
    """
    for sm in sms:
        path, records = folder / f"sm_{sm}.json", compile_kernels([sm])
        write_json(path, records)
        print_line(f"{path}  {len(records)} kernels, {path.stat().st_size / 1e3:.0f} kB")


def _parser(program: str = "compile_kernels.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    add_version(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="write sm_NN.json files into this folder"
    )
    parser.add_argument(
        "--sm",
        type=int,
        nargs="+",
        default=CAPABILITIES,
        choices=CAPABILITIES,
        help="compute capabilities (default: all)",
    )
    return parser
