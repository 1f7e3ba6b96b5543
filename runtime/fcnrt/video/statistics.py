"""What a pipeline has done so far, and which stage holds it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .channels import Stage


@dataclass(frozen=True)
class StageStatistics:
    """One stage.

    Attributes:
        name: "decode", "segment", "draw FILE" or "write FILE".
        frames: that left it.
        rate: frames per second of its own work, waiting left out, beside the others' work; None before the first frame.
        waiting: frames in the queue before it, now.
        capacity: how many that queue holds.
        dropped: frames that left that queue because a newer one came.
        age_ms: how old frames were when they left it, from decoding on: median and 99th percentile of the last 1,000.
    """

    name: str
    frames: int
    rate: float | None
    waiting: int
    capacity: int
    dropped: int
    age_ms: tuple[float, float] | None


@dataclass(frozen=True)
class Statistics:
    """A whole pipeline.

    Attributes:
        stages: in the order that a frame passes them.
        seconds: from the start until now or the end.
        decoded: frames that the source gave.
        labelled: frames that left the network.
        delivered: frames that were handed to the sinks, and to who iterates the pipeline.
        dropped: frames of a live source that a newer one replaced on that way.
        faults: what the source has survived, by name and number.
    """

    stages: tuple[StageStatistics, ...]
    seconds: float
    decoded: int
    labelled: int
    delivered: int
    dropped: int
    faults: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Frames per second from end to end."""
        return self.delivered / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """A table with a line per stage, and a line about the whole."""
        rows = [_HEAD, *(_row(stage) for stage in self.stages)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
        later = "".join(f", {stage.dropped} more before {stage.name}" for stage in self.stages[2:] if stage.dropped)
        survived = "".join(f", {count} {name}" for name, count in self.faults.items())
        return "\n".join(
            [
                *("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows),
                f"{self.delivered} frames in {self.seconds:.1f} s, {self.rate:.1f} per second from end to end; "
                f"{self.decoded} decoded, {self.dropped} dropped{later}{survived}",
            ]
        )


def stage_statistics(stages: Sequence[Stage[Any]]) -> tuple[StageStatistics, ...]:
    """Read the counters of running stages."""
    return tuple(_one(stage) for stage in stages)


def _one(stage: Stage[Any]) -> StageStatistics:
    busy_s, ages_s = stage.busy_s, list(stage.ages_s)
    return StageStatistics(
        name=stage.name,
        frames=stage.count,
        rate=stage.count / busy_s if stage.count and busy_s else None,
        waiting=stage.source.waiting if stage.source else 0,
        capacity=stage.source.capacity if stage.source else 0,
        dropped=stage.source.dropped if stage.source else 0,
        age_ms=(1e3 * float(np.median(ages_s)), 1e3 * float(np.quantile(ages_s, 0.99))) if ages_s else None,
    )


_HEAD = ("stage", "frames", "per second at work", "queue", "dropped", "age ms p50", "p99")


def _row(stage: StageStatistics) -> tuple[str, ...]:
    ages_ms = ("-", "-") if stage.age_ms is None else tuple(f"{age:.1f}" for age in stage.age_ms)
    rate = "-" if stage.rate is None else f"{stage.rate:.1f}"
    queue = (f"{stage.waiting}/{stage.capacity}", str(stage.dropped)) if stage.capacity else ("-", "-")
    return stage.name, str(stage.frames), rate, *queue, *ages_ms
