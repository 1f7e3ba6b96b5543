"""The last step alone, small scores to full-size labels, on the CPU: contenders in turns on drawn scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from fcnrt.contract.types import Array
from fcnrt.ops import reference

from .tail_contenders import OURS, Contender, enter_contenders
from .tail_scores import Case, make_scores
from .timing import Pace, ratios, take_turns, warm_up

SIZES = ((480, 640), (1080, 1920))
# Worker threads of the last contender may spin on for a moment; nobody should be timed against them.
PAUSE_MS = 2


def cases(quick: bool) -> Iterator[Case]:
    for height, width in SIZES[:1] if quick else SIZES:
        for stride in (8,) if quick else (8, 32):
            for kind in ("half_pixel", "align_corners", "deconv"):
                yield Case(kind, stride, height, width)
        yield Case("none", 1, height, width)
    yield Case("half_pixel", 8, *SIZES[0], content="noise")


def measure(case: Case, rounds: int, threads: int) -> dict[str, Any]:
    """Time one case, contenders interleaved, and compare their labels."""
    pool = make_scores(case)
    contenders, absent = enter_contenders(case, threads)
    equal = {name: share_equal(case, contender, pool[:2]) for name, contender in contenders.items()}
    for contender in contenders.values():
        warm_up(contender, pool, warm_up_ms=0)
    elapsed_ms = take_turns(contenders, pool, Pace(iterations=rounds, idle_ms=PAUSE_MS))
    times_ours = ratios(elapsed_ms, OURS)
    return {
        "case": asdict(case),
        "scores_shape": pool[0].shape,
        "mixed_tiles": mixed_share(pool[:8]) if case.kind != "none" else None,
        "median_ms": {name: float(np.median(ms)) for name, ms in elapsed_ms.items()},
        "times_ours": {name: list(ratio.values()) for name, ratio in times_ours.items()},
        "equal_to_reference": equal,
        "absent": absent,
    }


def share_equal(case: Case, contender: Contender, pool: list[Array]) -> float:
    """Share of labels equal to those of the float64 reference."""

    def expected(scores: Array) -> Array:
        return reference.argmax(reference.upsample(scores, case.height, case.width, case.tail))

    return float(np.mean([(contender(scores) == expected(scores)).mean() for scores in pool]))


def mixed_share(pool: list[Array]) -> float:
    """Share of the squares between four neighbouring samples whose winners differ."""
    labels = np.concatenate(pool).argmax(axis=1)  # (frames, h, w)
    corners = [labels[:, y : y - 1 or None, x : x - 1 or None] for y in (0, 1) for x in (0, 1)]
    return float(np.any([corner != corners[0] for corner in corners], axis=0).mean())
