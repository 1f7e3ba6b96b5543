"""The table of runtimes, and what to say of files that were refused or labelled otherwise."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtimes import Outcome

GROUPS = ("fp32", "fp32 fixed", "fp16", "fp16 fixed", "int8", "planes fixed")
USUAL_FLOOR = 0.99
FLOORS = {"int8": 0.9}  # every engine rounds for itself, and networks that were never trained are seldom sure
BEGIN, END = "<!-- written by make compatibility -->", "<!-- to here -->"


def page_with(outcomes: list[Outcome], page: str) -> str:
    """The page with a new table."""
    intro = f"On {date.today().isoformat()}, x86-64 Linux:"
    return rewritten(page, [intro, "", *table(outcomes), "", *remarks(outcomes)])


def rewritten(page: str, lines: list[str]) -> str:
    """A page with other lines between its marks; what people wrote around them stays."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + "\n".join([BEGIN, *lines, END]) + after


def told(outcome: Outcome) -> str:
    """All files of an outcome in one line."""
    return f"not run: {outcome.reason}" if outcome.reason else cell(outcome.files)


def faults(outcome: Outcome) -> int:
    """How many files were refused or labelled wrongly."""
    return sum(bool(errors(shares)) or lowest(shares) < floor(name) for name, shares in outcome.files.items())


def table(outcomes: list[Outcome]) -> Iterator[str]:
    counts = {group: max((len(of_group(outcome, group)) for outcome in outcomes), default=0) for group in GROUPS}
    header = ("runtime", "Python", *(f"{group} ({count})" for group, count in counts.items()))
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for outcome in outcomes:
        if outcome.reason:
            cells = [f"not run: {outcome.reason}", *("" for _ in GROUPS[1:])]
        else:
            cells = [cell(of_group(outcome, group)) for group in GROUPS]
        yield f"| {outcome.title} | {outcome.python} | {' | '.join(cells)} |"


def of_group(outcome: Outcome, group: str) -> dict[str, dict[str, float | str]]:
    return {name: shares for name, shares in outcome.files.items() if name.startswith(f"{group},")}


def cell(files: dict[str, dict[str, float | str]]) -> str:
    """How many files are labelled exactly, nearly so, wrongly, and how many are refused."""
    least = {name: lowest(shares) for name, shares in files.items() if not errors(shares)}
    near = [share for name, share in least.items() if floor(name) <= share < 1]
    counts = {
        "exact": sum(1 for share in least.values() if share == 1),
        f"{floored(min(near, default=1))} or more": len(near),
        "wrong": sum(1 for name, share in least.items() if share < floor(name)),
        "refused": len(files) - len(least),
    }
    told = {text: count for text, count in counts.items() if count}
    return next(iter(told), "") if len(told) < 2 else ", ".join(f"{count} {text}" for text, count in told.items())


def floor(name: str) -> float:
    """Fewer equal labels than this make a file of that group a wrong one."""
    return FLOORS.get(name.split(",")[0], USUAL_FLOOR)


def errors(shares: dict[str, float | str]) -> set[str]:
    return {share for share in shares.values() if isinstance(share, str)}


def lowest(shares: dict[str, float | str]) -> float:
    return min(share for share in shares.values() if not isinstance(share, str))


def floored(share: float) -> str:
    """A percentage that is never rounded up."""
    return f"{int(share * 1e4) / 100:.2f} %"


def remarks(outcomes: list[Outcome]) -> Iterator[str]:
    """Lines about what was refused, with the error, and about labels that are too often others."""
    for outcome in outcomes:
        for text, names in sorted(causes(outcome).items()):
            yield f"- {outcome.title}: {text}: {listed(names)}"


def causes(outcome: Outcome) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, shares in outcome.files.items():
        for error in sorted(errors(shares))[:1]:
            shapes = [shape for shape, share in shares.items() if isinstance(share, str)]
            found[f"`{plain(error)}`"].append(name if len(shapes) == len(shares) else f"{name} at {', '.join(shapes)}")
        if not errors(shares) and lowest(shares) < floor(name):
            wrong = [f"{shape} {floored(share)}" for shape, share in shares.items() if share < floor(name)]
            found["wrong labels"].append(f"{name} ({', '.join(wrong)} equal)")
    return found


def plain(error: str) -> str:
    """An error's text without what is of one machine, run or file: paths, addresses, numbers of nodes."""
    text = re.sub(r"`|\S*/(?=[\w.]+\b)| #\d+", "", error.splitlines()[0])
    return re.sub(r"0x[0-9a-f]+", "0x…", text)[:200]


def listed(names: list[str]) -> str:
    """All files of a group are told by its name."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name.split(",")[0]] += 1
    if len(names) > 8:
        return ", ".join(f"{count} of {group}" for group, count in counts.items())
    return "; ".join(name.replace(".onnx", "") for name in names)
