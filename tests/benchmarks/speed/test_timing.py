"""Rounds: who runs when, on what, and how figures are made of it."""

from __future__ import annotations

import argparse
import gc
import itertools
import time
from collections import Counter

import numpy as np
import pytest

from fcn_bench.speed import timing
from fcn_bench.speed.timing import (
    Pace,
    add_pace_flags,
    pace_of,
    ratios,
    round_order,
    spread,
    summary,
    take_turns,
    warm_up,
)

QUICK = Pace(iterations=7, warm_up_ms=0, idle_ms=0)


def recorded(names: str, calls: list[tuple[str, int]]):
    return {name: lambda index, name=name: calls.append((name, index)) for name in names}


def test_contenders_run_once_a_round_in_changing_order() -> None:
    calls: list[tuple[str, int]] = []
    elapsed_ms = take_turns(recorded("ABC", calls), range(11), QUICK)
    rounds = ["".join(name for name, _ in calls[first : first + 3]) for first in range(0, len(calls), 3)]
    assert rounds == ["ABC", "BCA", "CAB", "CBA", "ACB", "BAC", "ABC"]
    assert {name: len(times) for name, times in elapsed_ms.items()} == dict.fromkeys("ABC", 7)


@pytest.mark.parametrize("count", range(1, 9))
def test_everybody_follows_everybody_else_equally_often(count: int) -> None:
    rounds = [round_order(count, turn) for turn in range(2 * count)]
    assert all(sorted(order) == list(range(count)) for order in rounds)
    assert all(Counter(places) == dict.fromkeys(range(count), 2) for places in zip(*rounds, strict=True))
    neighbours = Counter(pair for order in rounds for pair in itertools.pairwise(order))
    assert set(neighbours.values()) <= {2} and len(neighbours) == count * (count - 1)


def test_everybody_has_every_input_and_nobody_shares_one_in_a_round() -> None:
    calls: list[tuple[str, int]] = []
    take_turns(recorded("ABC", calls), range(7), QUICK)
    assert all(sorted(index for who, index in calls if who == name) == list(range(7)) for name in "ABC")
    assert all(len({index for _, index in calls[first : first + 3]}) == 3 for first in range(0, 21, 3))


def test_rounds_go_on_until_the_duration_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    calls: list[tuple[str, int]] = []
    take_turns(recorded("A", calls), range(3), Pace(iterations=1, duration_s=30, idle_ms=0))
    assert len(calls) == 10  # a round asks the time thrice


def test_milliseconds_of_a_round_stand_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(run, argument):
        return run(argument)

    monkeypatch.setattr(timing, "timed_ms", measured)
    elapsed_ms = take_turns({"A": lambda index: index, "B": lambda index: 100 + index}, range(4), QUICK)
    assert elapsed_ms["A"] == [0, 1, 2, 3, 0, 1, 2] and elapsed_ms["B"] == [102, 103, 100, 101, 102, 103, 100]


def test_each_run_waits_for_the_last_one_to_calm_down(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    take_turns(recorded("AB", []), range(5), Pace(iterations=2, idle_ms=12))
    assert pauses == [0.012] * 4


def test_warm_up_runs_twice_at_least_and_on_while_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([50.0, 1.0, 3.0, 3.0])
    monkeypatch.setattr(timing, "timed_ms", lambda run, argument: run(argument) or next(took))
    seen: list[int] = []
    assert warm_up(seen.append, range(3), 0) == [50.0, 1.0]
    assert warm_up(seen.append, range(3), 5) == [3.0, 3.0]
    assert seen == [0, 1, 0, 1]


def test_the_collector_is_off_while_time_is_taken_and_back_after_a_failure() -> None:
    states: list[bool] = []

    def run(index: int) -> None:
        states.append(gc.isenabled())
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        take_turns({"A": run}, range(2), QUICK)
    assert states == [False] and gc.isenabled()


def test_ratios_are_taken_within_rounds() -> None:
    elapsed_ms = {"ours": [1.0, 10.0, 100.0], "rival": [3.0, 20.0, 50.0]}
    assert ratios(elapsed_ms, "ours") == {"rival": {"median": 2.0, "p10": 0.8, "p90": 2.8}}


def test_figures_of_known_times() -> None:
    times = list(range(1, 102))
    np.random.default_rng(0).shuffle(times)
    assert summary(times) == {"min_ms": 1, "median_ms": 51, "p90_ms": 91, "p99_ms": 100}
    assert spread(times) == {"median": 51, "p10": 11, "p90": 91}


def test_flags_are_trtexecs() -> None:
    parser = argparse.ArgumentParser()
    add_pace_flags(parser)
    assert pace_of(parser.parse_args([])) == Pace(30, 0, 200, 10)
    words = ["--iterations", "40", "--duration", "2.5", "--warmUp", "0", "--idleTime", "3"]
    assert pace_of(parser.parse_args(words)) == Pace(40, 2.5, 0, 3)
