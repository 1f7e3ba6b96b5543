"""Every Nth frame, and an end after a time."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest

from fcnrt.video import open_source
from fcnrt.video.sources.thinned import Thinned


@pytest.mark.parametrize(("every", "numbers"), [(1, list(range(10))), (3, [0, 3, 6, 9]), (11, [0])])
def test_every_nth_frame_at_its_own_time(every: int, numbers: list[int]) -> None:
    with Thinned(open_source("test:33x47@25*10"), every) as source:
        assert source.rate == Fraction(25, every) and source.frame_count == len(numbers)
        assert source.size == (33, 47) and source.name == "test:33x47@25*10" and not source.live
        frames = list(source)
    assert [frame.number for frame in frames] == numbers
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in numbers]


@pytest.mark.parametrize(("length", "count"), [(0.2, 5), (0.21, 6), (100.0, 10)])
def test_none_after_a_time(length: float, count: int) -> None:
    with Thinned(open_source("test:33x47@25*10"), length=length) as source:
        assert source.frame_count == count
        assert len(list(source)) == count


def test_both() -> None:
    with Thinned(open_source("test:33x47@25"), 2, 0.5) as source:
        assert source.frame_count is None
        assert [frame.number for frame in source] == [0, 2, 4, 6, 8, 10, 12]


def test_a_live_source_ends_by_the_clock_where_no_frame_comes() -> None:
    with Thinned(open_source("test-live:33x47@1/1000"), length=0.3) as source:
        started = time.monotonic()
        assert len(list(source)) == 1
        assert time.monotonic() - started >= 0.25


def test_faults_and_notes_are_the_sources() -> None:
    inner = open_source("test:33x47*3")
    inner.faults["corrupt packets"] += 2
    inner.notes = ["a note"]
    with Thinned(inner, 2) as source:
        assert source.faults == {"corrupt packets": 2} and source.notes == ["a note"]
