"""How fast a run of `fcnrt batch` says that it was."""

from __future__ import annotations

import pytest

from fcnrt.cli.crews import Crew
from fcnrt.cli.tally import Pace, spread
from fcnrt.cluster.local import divide_on_processes, label_on_processes
from fcnrt.cluster.work import Item, Items, Row


@pytest.mark.parametrize(
    "times, rate", [([10, 12, 14, 16], 0.5), ([16, 14, 10, 12], 0.5), ([10] * 4, 0), ([10, 11, 12], 0), ([], 0)]
)
def test_the_rate_is_from_the_first_input_on(times: list[float], rate: float) -> None:
    pace = Pace()
    for finished in times:
        pace.add(Row("a.png", 1, 5, 7, [1.0], 0.5, 0.1, finished, 1, "host", ""))
    assert pace.rate == rate


def test_the_rate_is_of_frames_and_of_enough_rows() -> None:
    pace = Pace(workers=2)
    for index in range(8):
        assert not pace.rate
        pace.add(Row("a.mp4", 10, 5, 7, [1.0], 0.5, 0.1, 100.0 + index, 1, "host", ""))
    assert pace.rate == 10


def test_a_sample_is_spread_over_all() -> None:
    for names, count, expected in [("abcdefg", 3, ("ace", "bdfg")), ("ab", 3, ("ab", "")), ("ab", 0, ("", "ab"))]:
        every = [Item(name, ()) for name in names]
        sample, rest = spread(Items(len(every), lambda every=every: every), count)
        assert len(rest) == len(expected[1])
        assert ("".join(item.source for item in sample), "".join(item.source for item in rest)) == expected


@pytest.mark.parametrize("size, size_alone, efficiency", [(2, 2, 0.9), (8, 2, 0.9), (4, 1, 0.9)])
def test_efficiency_is_for_the_same_cores(size: int, size_alone: int, efficiency: float) -> None:
    crew = Crew(size, label_on_processes, divide_on_processes, label_on_processes, size_alone, size_alone)
    assert crew.efficiency(0.9 * size, size_alone) == pytest.approx(efficiency)
