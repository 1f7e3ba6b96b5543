"""The page: what it is made of, file by file of results."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .latency import latency_section, tail_section
from .markup import Markup, facts, joined, tag
from .parity import parity_section
from .slips import slips_section
from .video import video_section

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2430; --faint: #5b6675; --rule: #d9dee5; --wash: #f4f6f8;
  --link: #4a7ab5; --warn: #b42318; --tint: #e7f4ef }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e4e9ef; --faint: #9aa5b1; --rule: #323a44;
  --wash: #1d232a; --link: #6f9fd8; --warn: #f2705f; --tint: #17322a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.7rem; margin: 0 0 .5rem } h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: 1rem;
  border-top: 2px solid var(--rule) } h3 { font-size: 1.1rem; margin: 2rem 0 .5rem } h4 { margin: 1.2rem 0 .4rem }
p { max-width: 46rem } nav ul { padding-left: 1.2rem } a { color: var(--link) }
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
img { display: block; min-width: 48rem; max-width: 100%; height: auto }
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


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Read results, parity first, then latency, then the rest.

    Raises:
        ReportError: there are none, or one is no file of ours.
        OSError: one cannot be read.
    """
    if not paths:
        raise ReportError("no results: run `fcnrt parity` or `fcnrt bench` first, or name their files")
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


SECTIONS: Mapping[str, Callable[[Source], Markup]] = {
    "parity": lambda source: parity_section(source.content, source.path.with_suffix("")),
    "latency": lambda source: latency_section(source.content),
    "tail": lambda source: tail_section(source.content),
    "five-lines": lambda source: slips_section(source.content),
    "video-rate": lambda source: video_section(source.content),
}
