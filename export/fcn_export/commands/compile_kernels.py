"""Compile the GPU kernels ahead of time into records that a runtime without a compiler can launch.

python export/compile_kernels.py -o runtime/fcnrt/gpu/packs
python export/compile_kernels.py -o kernels --sm 87 89

Needs Triton, but neither a GPU nor torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import ExportError, one_line
from ..files import atomic_path
from ..kernels.compiling import CAPABILITIES, compile_kernels


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 for a refusal (one line on stderr), 2 for wrong arguments."""
    options = _parser().parse_args(argv)
    try:
        for sm in options.sm:
            path = options.output / f"sm_{sm}.json"
            records = compile_kernels([sm])
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
            print(f"{path}  {len(records)} kernels, {path.stat().st_size / 1e3:.0f} kB")
    except (ExportError, OSError) as error:
        print(f"compile_kernels: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("compile_kernels: interrupted; finished files stay", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compile_kernels.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
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
