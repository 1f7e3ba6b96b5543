"""Timing in turns: what is compared runs in the same rounds, so that a machine whose speed drifts drifts for all.

Flags of the same meaning have the names that trtexec gives them: --iterations, --duration, --warmUp, --idleTime.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..arguments import amount, whole_number
from ..status import progress

Input = TypeVar("Input")
Run = Callable[[Input], object]

LEAST_WARM_UP_RUNS = 2  # the first compiles and allocates, the second finds all of it


@dataclass(frozen=True)
class Pace:
    """How long is measured, and with what pauses.

    Args:
        iterations: rounds, at least.
        duration_s: seconds that the rounds go on for, at least.
        warm_up_ms: milliseconds that each contender runs for untimed, at least, and twice at least.
        idle_ms: pause before each run, in milliseconds. Worker threads of whoever ran last may spin on for a moment;
            nobody should be timed against them.
    """

    iterations: int = 30
    duration_s: float = 0.0
    warm_up_ms: float = 200.0
    idle_ms: float = 10.0


def add_pace_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `pace_of` to a command line."""
    add = parser.add_argument_group("pace (flags as in trtexec)").add_argument
    usual = Pace()
    add("--iterations", type=whole_number, default=usual.iterations, metavar="N", help="rounds, at least (30)")
    add("--duration", type=amount, default=usual.duration_s, metavar="S", help="seconds of rounds, at least (0)")
    add("--warmUp", type=amount, default=usual.warm_up_ms, metavar="MS", help="untimed runs of each before (200)")
    add("--idleTime", type=amount, default=usual.idle_ms, metavar="MS", help="pause before each run (10)")


def pace_of(options: argparse.Namespace) -> Pace:
    """The pace that the flags ask for."""
    return Pace(options.iterations, options.duration, options.warmUp, options.idleTime)


def warm_up(run: Run[Input], inputs: Sequence[Input], warm_up_ms: float) -> list[float]:
    """Run untimed; the milliseconds of each run come back all the same, the first with all that happens once."""
    elapsed_ms: list[float] = []
    while len(elapsed_ms) < LEAST_WARM_UP_RUNS or sum(elapsed_ms) < warm_up_ms:
        elapsed_ms.append(timed_ms(run, inputs[len(elapsed_ms) % len(inputs)]))
    return elapsed_ms


def take_turns(runs: Mapping[str, Run[Input]], inputs: Sequence[Input], pace: Pace) -> dict[str, list[float]]:
    """Time contenders in rounds of one run each, in an order that changes from round to round.

    Each contender goes through all inputs, one per round, and in a round everybody has another one: whoever comes next
    must not find its input in the cache.

    Args:
        runs: contenders by name; each is called with one input and returns when its result is there.
        inputs: as many as there are contenders, or more; more than the last-level cache holds, if it is not to matter.
        pace: rounds and pauses; the warm-up is not done here.

    Returns:
        Milliseconds by name, one per round: what stands at the same index was measured side by side.
    """
    names = list(runs)
    elapsed_ms: dict[str, list[float]] = {name: [] for name in names}
    apart = max(1, len(inputs) // len(names))
    started = time.perf_counter()
    end, turn = started + pace.duration_s, 0
    with collector_off():
        while turn < pace.iterations or time.perf_counter() < end:
            for index in round_order(len(names), turn):
                time.sleep(pace.idle_ms / 1e3)
                took_ms = timed_ms(runs[names[index]], inputs[(turn + index * apart) % len(inputs)])
                elapsed_ms[names[index]].append(took_ms)
            turn += 1
            progress("in turns: round", turn, pace.iterations, started)
    return elapsed_ms


def round_order(count: int, turn: int) -> list[int]:
    """The order of a round: in 2 * count rounds everybody stands at each place twice and follows everybody else twice.

    What a predecessor leaves in caches and to the memory's allocator is thus nobody's own burden. E. J. Williams,
    Experimental designs balanced for the estimation of residual effects of treatments, 1949.
    """
    zigzag = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(count)]  # 0, 1, -1, 2, -2, ...
    order = [(step + turn) % count for step in zigzag]
    return order[::-1] if turn // count % 2 else order


def timed_ms(run: Run[Input], argument: Input) -> float:
    """Milliseconds of one run."""
    start = time.perf_counter()
    run(argument)
    return (time.perf_counter() - start) * 1e3


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python's garbage collector out of what is timed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def summary(elapsed_ms: Sequence[float]) -> dict[str, float]:
    """Median, 90th and 99th percentile and smallest, in milliseconds.

    Of fewer than a hundred rounds the 99th percentile lies between the two slowest.
    """
    names = ("min_ms", "median_ms", "p90_ms", "p99_ms")
    return dict(zip(names, np.percentile(elapsed_ms, (0, 50, 90, 99)).tolist(), strict=True))


def ratios(elapsed_ms: Mapping[str, Sequence[float]], base: str) -> dict[str, dict[str, float]]:
    """How many times as long as `base` the others took, round by round: median, 10th and 90th percentile by name."""
    divisor = np.asarray(elapsed_ms[base])
    return {name: spread(np.asarray(values) / divisor) for name, values in elapsed_ms.items() if name != base}


def spread(values: Any) -> dict[str, float]:
    """Median, 10th and 90th percentile."""
    return dict(zip(("median", "p10", "p90"), np.percentile(values, (50, 10, 90)).tolist(), strict=True))
