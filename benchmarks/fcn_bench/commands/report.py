"""One page of everything that was measured: tables, plots, pictures of the worst frames, hardware, commands.

python benchmarks/report.py
python benchmarks/report.py benchmarks/results/*.json -o report.html --plots benchmarks/results

The page needs no network and no script: styles, plots and pictures are inside.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fcn_export.command_line import add_version, run_command
from fcnrt.contract.arguments import Parser
from fcnrt.contract.files import atomic_path
from fcnrt.errors import print_line

from ..report.latency import contest_plots, curve_plots
from ..report.markdown import contest_tables
from ..report.page import ReportError, Source, page, read_sources
from ..result_files import RESULTS


def main(argv: list[str] | None = None, program: str = "report.py") -> int:
    """Run the command line; the exit status is 0, 1 where there is nothing to report, 2 for wrong arguments."""
    options = _parser(program).parse_args(argv)
    return run_command(program, lambda: report(options), refusals=(ReportError,))


def report(options: argparse.Namespace) -> None:
    """Draw the results as the parsed options say; prints what was made.

    Raises:
        ReportError: there is nothing to report.
        OSError: a file cannot be read or written.
    """
    sources = read_sources(options.results or sorted(RESULTS.glob("*.json")))
    _write(options.output, page(sources))
    plots = write_plots(sources, options.plots) if options.plots else []
    megabytes = options.output.stat().st_size / 1e6
    print_line(f"{options.output}  {len(sources)} results, {megabytes:.1f} MB")
    for path in plots:
        print_line(path)
    if options.markdown:
        print()
        for line in "\n\n".join(drawn for source in sources for drawn in markdown(source)).splitlines():
            print_line(line)


def markdown(source: Source) -> list[str]:
    """The tables of a result as README quotes them; none but for latencies."""
    return list(contest_tables(source.content)) if source.kind == "latency" else []


def write_plots(sources: Sequence[Source], folder: Path) -> list[Path]:
    """Write the plots as SVG files of their own, named after the results, and return their paths."""
    written = []
    for source in sources:
        if source.kind == "latency":
            for name, plot in {**contest_plots(source.content), **curve_plots(source.content)}.items():
                written.append(folder / f"{source.path.stem}-{name}.svg")
                _write(written[-1], plot.svg)
    return written


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def _parser(program: str = "report.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__)
    add_version(parser)
    add = parser.add_argument
    add(
        "results",
        type=Path,
        nargs="*",
        help="JSON files of parity.py, latency.py, tail.py, five_lines.py, video_rate.py (results/*.json)",
    )
    add("-o", "--output", type=Path, default=RESULTS / "report.html", help="the page (results/report.html)")
    add("--markdown", action="store_true", help="also print the latency tables as README quotes them")
    add("--plots", type=Path, metavar="FOLDER", help="also write the plots there, as SVG files")
    return parser
