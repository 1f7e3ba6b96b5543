"""A contest: contenders enter, warm up, are held against the reference, and take turns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..status import status
from .contenders import CONTENDERS, CannotRun, Contender, Frames, Setup, open_contender, reference, refuse
from .timing import Pace, ratios, summary, take_turns, warm_up

OURS, BARE = ("ours-engine", "ours"), "ort-scores"
HOST_COPIES = {"cpu": "none needed", "cuda": "both inside"}  # of every contender: they take and give host arrays
COMPARED_FRAMES = 3  # whose labels are held against the reference


@dataclass(frozen=True)
class Entrant:
    """A contender that has run: what its warm-up took, and the share of its labels that equal the reference."""

    contender: Contender
    warm_up_ms: list[float]
    equal: float | None


def contest(names: Sequence[str], setup: Setup, frames: Sequence[Frames], pace: Pace) -> dict[str, Any]:
    """Time contenders side by side.

    Args:
        names: of contenders, in the order of the table.
        setup: what they are made from.
        frames: (1, H, W, 3) uint8 each, more than the last-level cache holds.
        pace: of the measurement.

    Returns:
        "reference": what labels were compared with; "base": the contender that ratios are taken to; "rows", one per
        contender that ran; "absent": reasons of the others, by name.

    Raises:
        CannotRun: nothing of ours runs.
    """
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        expected, what = _expected(setup, frames[:COMPARED_FRAMES])
        entrants = _enter(names, setup, stack, frames, expected, pace.warm_up_ms, absent)
        base = next((name for name in OURS if name in entrants), None)
        if base is None:
            raise CannotRun(f"nothing of ours runs here: {absent['ours']}")
        status()
        elapsed_ms = take_turns({name: each.contender.label for name, each in entrants.items()}, frames, pace)
    common = {"host_copies": HOST_COPIES[setup.device]}
    table = [_row(name, entrants[name], elapsed_ms, base) | common for name in entrants]
    return {"reference": what, "base": base, "rows": table, "absent": absent}


def _expected(setup: Setup, frames: Sequence[Frames]) -> tuple[list[Any], str]:
    """The reference's labels for some frames, and what it is."""
    status("labelling by the reference")
    label, what = reference(setup)
    return [label(frame) for frame in frames], what


def _enter(
    names: Sequence[str],
    setup: Setup,
    stack: ExitStack,
    frames: Sequence[Frames],
    expected: Sequence[Any],
    warm_up_ms: float,
    absent: dict[str, str],
) -> dict[str, Entrant]:
    """Open and warm up contenders; those that cannot run are noted with their reason."""
    entrants = {}
    for name in names:
        status(f"warming up {CONTENDERS[name].title}")
        try:
            contender = open_contender(name, setup)
            stack.callback(contender.close)
            entrants[name] = _warmed_up(contender, frames, expected, warm_up_ms)
        except CannotRun as error:
            absent[name] = str(error)
    return entrants


def _warmed_up(contender: Contender, frames: Sequence[Frames], expected: Sequence[Any], warm_up_ms: float) -> Entrant:
    try:
        took_ms = warm_up(contender.label, frames, warm_up_ms)
        found = [contender.label(frame) for frame in frames[: len(expected)]]
    except Exception as error:  # of whatever library, and some compile only now
        refuse(error)
    if contender.gives == "scores":
        return Entrant(contender, took_ms, None)
    equal = np.mean([(labels == truth).mean() for labels, truth in zip(found, expected, strict=True)])
    return Entrant(contender, took_ms, float(equal))


def _row(name: str, entrant: Entrant, elapsed_ms: dict[str, list[float]], base: str) -> dict[str, Any]:
    """A table row: a contender's times, how they compare with ours and with the bare session, and what it is."""
    return {
        "name": name,
        "title": CONTENDERS[name].title,
        "precision": entrant.contender.precision,
        "note": entrant.contender.note,
        "gives": entrant.contender.gives,
        "equal_to_reference": entrant.equal,
        **summary(elapsed_ms[name]),
        "times_ours": ratios(elapsed_ms, base).get(name),
        "times_bare": ratios(elapsed_ms, BARE).get(name) if BARE in elapsed_ms else None,
        "first_ms": entrant.warm_up_ms[0],
        "ms": [round(ms, 4) for ms in elapsed_ms[name]],
    }
