"""One page of everything that was measured: tables, plots, pictures of the worst frames, hardware, commands.

python benchmarks/report.py
python benchmarks/report.py benchmarks/results/*.json -o report.html --plots benchmarks/results

The page needs no network and no script: styles, plots and pictures are inside.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_export.command_line import add_version, run_command
from fcnrt.contract.files import atomic_path

from ..report.latency import contest_plots, curve_plots, latency_section, tail_section
from ..report.markdown import contest_tables
from ..report.markup import Markup, facts, joined, tag
from ..report.parity import parity_section
from ..report.plots import standalone
from ..report.slips import slips_section
from ..report.video import video_section

RESULTS = Path(__file__).resolve().parents[2] / "results"
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2430; --faint: #5b6675; --rule: #d9dee5; --wash: #f4f6f8;
  --ours: #0b7a5b; --bare: #9aa5b1; --rival: #4a7ab5; --warn: #b42318; --third: #b7791f; --fourth: #7c4dbd;
  --tint: #e7f4ef }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e4e9ef; --faint: #9aa5b1; --rule: #323a44;
  --wash: #1d232a; --ours: #2fb48c; --bare: #6b7683; --rival: #6f9fd8; --warn: #f2705f; --third: #d9a441;
  --fourth: #a98be0; --tint: #17322a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.7rem; margin: 0 0 .5rem } h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: 1rem;
  border-top: 2px solid var(--rule) } h3 { font-size: 1.1rem; margin: 2rem 0 .5rem } h4 { margin: 1.2rem 0 .4rem }
p { max-width: 46rem } nav ul { padding-left: 1.2rem } a { color: var(--rival) }
.small, small, figcaption { color: var(--faint); font-size: .85rem }
small { display: block; white-space: nowrap }
.scroll { overflow-x: auto; margin: .6rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem }
th, td { padding: .3rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--rule);
  white-space: nowrap }
th { background: var(--wash); font-weight: 600; white-space: normal; min-width: 4.4rem;
  vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
td.words, td:has(> strong) { text-align: left; white-space: normal; min-width: 16rem } .words { color: var(--faint) }
tr.marked td { background: var(--tint) } tr.marked td:first-child { font-weight: 600 } strong { color: var(--warn) }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .15rem 1rem; margin: .6rem 0 }
dt { color: var(--faint) } dd { margin: 0; min-width: 0 }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr } dt { margin-top: .4rem } }
pre { background: var(--wash); padding: .7rem 1rem; white-space: pre-wrap; font-size: .85rem; border-radius: 4px }
details { margin: .8rem 0 } summary { cursor: pointer; font-weight: 600 } figure { margin: 1rem 0 }
svg { display: block; min-width: 44rem; max-width: 100%; height: auto; font: 13px system-ui, sans-serif }
img { display: block; min-width: 48rem; max-width: 100%; height: auto }
text { fill: var(--ink) } .faint { fill: var(--faint) } .grid { stroke: var(--rule) } .axis { stroke: var(--bare) }
.floor { stroke: var(--warn) } text.floor { fill: var(--warn); stroke: none } .whisker { stroke: var(--ink) }
.ours { fill: var(--ours) } .bare { fill: var(--bare) } .rival { fill: var(--rival) }
.c0 { --c: var(--ours) } .c1 { --c: var(--rival) } .c2 { --c: var(--third) } .c3 { --c: var(--fourth) }
.c4 { --c: var(--warn) } .line { fill: none; stroke: var(--c); stroke-width: 2 } .dot { fill: var(--c) }
"""


class ReportError(Exception):
    """There is nothing to report, or a file is none of ours."""


@dataclass(frozen=True)
class Source:
    """A file of results."""

    path: Path
    kind: str
    content: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The heading of its part."""
        if self.kind == "latency":
            return f"Latency of {self.content['model']['name']} on the {self.content['device'].upper()}"
        if self.kind == "parity":
            return f"Parity with {self.content['reference']['file']} on {self.content['data']['name']}"
        if self.kind == "five-lines":
            return f"Slips in preparing frames, {self.content['checkpoint']['name']} on {self.content['data']['name']}"
        if self.kind == "video-rate":
            return "Video: a pipeline beside its stages"
        return "The last step alone: scores to labels on the CPU"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 where there is nothing to report, 2 for wrong arguments."""
    options = _parser().parse_args(argv)
    return run_command("report", lambda: report(options), refusals=(ReportError,))


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
    print(f"{options.output}  {len(sources)} results, {megabytes:.1f} MB" + "".join(f"\n{path}" for path in plots))
    if options.markdown:
        print("\n" + "\n\n".join(drawn for source in sources for drawn in markdown(source)))


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Read results, parity first, then latency, then the rest.

    Raises:
        ReportError: there are none, or one is no file of ours.
        OSError: one cannot be read.
    """
    if not paths:
        raise ReportError(f"{RESULTS}: no results there; run benchmarks/parity.py or benchmarks/latency.py first")
    order = list(SECTIONS)
    return sorted((_read(path) for path in paths), key=lambda source: (order.index(source.kind), source.path.name))


def _read(path: Path) -> Source:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path}: damaged ({error}); measure again") from error
    kind = content.get("benchmark", "tail" if "rows" in content else None) if isinstance(content, dict) else None
    if kind not in SECTIONS:
        raise ReportError(f"{path}: expected a result of benchmarks/, got {kind or 'something else'}; leave it out")
    return Source(path, kind, content)


def page(sources: Sequence[Source]) -> str:
    """The whole page.

    Raises:
        ReportError: a file lacks something.
    """
    parts = [_part(source, f"part{number}") for number, source in enumerate(sources, start=1)]
    links = [tag("li", tag("a", source.title, href=f"#part{n}")) for n, source in enumerate(sources, start=1)]
    head = joined(
        (
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", "fcnrt: what was measured"),
            tag("style", Markup(STYLE)),
        )
    )
    intro = "Every figure below was measured by the command shown with it, on the machine shown with it."
    body = tag("body", tag("h1", "fcnrt: what was measured"), tag("p", intro), tag("nav", tag("ul", *links)), *parts)
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), body, lang="en") + "\n"


def _part(source: Source, anchor: str) -> Markup:
    try:
        section = SECTIONS[source.kind](source)
        machine = facts(_machine(source.content))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{source.path}: incomplete ({type(error).__name__}: {error}); measure again") from error
    where = tag("details", tag("summary", "Machine and command"), machine, tag("pre", _command(source)), open="open")
    return tag("section", tag("h2", source.title), where, section, id=anchor)


def _machine(content: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    found = content["environment"]
    gpu = found.get("gpu")
    yield "processor", f"{found['cpu']}, {found['cores']} cores, {' '.join(found.get('cpu_features', ()))}"
    yield "GPU", ", ".join(f"{name} {value}" for name, value in gpu.items()) if gpu else "none"
    yield "memory", f"{found.get('memory_gib', '?')} GiB, last-level cache {found['last_level_cache_mib']:g} MiB"
    yield "system", f"{found.get('system', '?')}, Python {found['python']}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    yield "threads", _threads(found["threads"])
    yield "date", content.get("date", "?")


def _threads(threads: Any) -> str:
    return (
        ", ".join(f"{name} {count}" for name, count in threads.items()) if isinstance(threads, dict) else str(threads)
    )


def _command(source: Source) -> str:
    return "python " + shlex.join(source.content.get("command", [f"benchmarks/{source.kind}.py"]))


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
                _write(written[-1], standalone(plot))
    return written


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


SECTIONS: Mapping[str, Callable[[Source], Markup]] = {
    "parity": lambda source: parity_section(source.content, source.path.with_suffix("")),
    "latency": lambda source: latency_section(source.content),
    "tail": lambda source: tail_section(source.content),
    "five-lines": lambda source: slips_section(source.content),
    "video-rate": lambda source: video_section(source.content),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="report.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_version(parser)
    add = parser.add_argument
    add(
        "results",
        type=Path,
        nargs="*",
        help="JSON files of parity.py, latency.py, tail.py, five_lines.py, video_rate.py (benchmarks/results/*.json)",
    )
    add("-o", "--output", type=Path, default=RESULTS / "report.html", help="the page (benchmarks/results/report.html)")
    add("--markdown", action="store_true", help="also print the latency tables as README quotes them")
    add("--plots", type=Path, metavar="FOLDER", help="also write the plots there, as SVG files")
    return parser
