"""Write what a server needs to serve a model: a model repository of Triton, or configurations of DeepStream.

python export/to_server.py model.onnx --triton models
python export/to_server.py planes.onnx --deepstream app
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fcnrt.contract.arguments import Parser
from fcnrt.errors import print_line

from ..command_line import add_version, run_command
from ..errors import ExportError

MOST = 1024
MOST_DELAY_US = 10**7


def main(argv: list[str] | None = None, program: str = "to_server.py") -> int:
    """Run the command line; the exit status is 0, 1 for a refusal (one line on stderr), 2 for wrong arguments."""
    options = _parser(program).parse_args(argv)
    return run_command(program, lambda: write(options), interruption="interrupted; finished folders stay")


def write(options: argparse.Namespace) -> None:
    """Write what the parsed options say; prints what was made and how to start the server.

    Raises:
        ModelFileError: the model is damaged, foreign or newer.
        ExportError: a folder exists already, or the server cannot take the file.
        OSError: a file cannot be read or written.
    """
    from ..servers.served import served

    model = served(options.model, options.name)
    if options.deepstream is not None:
        _check_alone(options)
        from ..servers.deepstream import write_app

        _report(write_app(model, options.deepstream))
        return
    from ..servers.triton import TritonOptions, write_repository

    how = TritonOptions(
        options.backend, options.max_batch, options.delay, options.instances, options.device, options.pictures
    )
    _report(write_repository(model, options.triton, how))
    if model.output.name == "scores":
        print_line("note: this engine ends at scores; build it with --tail graph for labels")
    print_line(f"next: tritonserver --model-repository {options.triton}")


def _check_alone(options: argparse.Namespace) -> None:
    usual = _parser()
    for flag in ("backend", "max_batch", "delay", "instances", "device", "pictures"):
        if getattr(options, flag) != usual.get_default(flag):
            raise ExportError(f"--{flag.replace('_', '-')}: is for --triton; leave it out with --deepstream")


def _report(paths: list[Path]) -> None:
    for path in paths:
        print_line(path)


def _parser(program: str = "to_server.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    add_version(parser)
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--triton", type=Path, metavar="REPOSITORY", help="add the model to this model repository")
    where.add_argument("--deepstream", type=Path, metavar="FOLDER", help="write a new folder of configurations")
    parser.add_argument("--name", help="that clients ask for (default: the file's)")
    parser.add_argument(
        "--backend",
        choices=("server", "fcnrt"),
        default="server",
        help="of Triton: its own for the file (default), or Python's with fcnrt inside",
    )
    parser.add_argument("--max-batch", type=_count(MOST), default=8, metavar="N", help="frames in a batch (default 8)")
    parser.add_argument(
        "--delay", type=_count(MOST_DELAY_US, 0), default=0, metavar="US", help="microseconds to wait for others (0)"
    )
    parser.add_argument("--instances", type=_count(MOST), default=1, metavar="N", help="copies on each device (1)")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where an ONNX file runs")
    parser.add_argument("--pictures", action="store_true", help="add an ensemble: JPEG or PNG in, PNG of labels out")
    return parser


def _count(most: int, least: int = 1):
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text!r}")
        return int(text)

    return parse
