"""Frames of a file are held until they are due; a slow film is stretched, a live one left alone."""

from __future__ import annotations

from fractions import Fraction

import pytest

from fcnrt.video.sinks.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.mark.parametrize("first", [Fraction(0), Fraction(7, 25)])
def test_a_file_plays_at_its_own_speed(first: Fraction) -> None:
    clock = Clock()
    pace = Pace(False, clock, clock.sleep)
    times = [first + Fraction(number, 25) for number in range(5)]
    assert [pace.hold(time) for time in times] == times
    assert clock.now == pytest.approx(100 + 4 / 25)


def test_what_comes_a_little_late_makes_up_for_it() -> None:
    clock = Clock()
    pace = Pace(False, clock, clock.sleep)
    pace.hold(Fraction(0))
    clock.now += 0.3
    assert pace.hold(Fraction(1, 25)) == Fraction(1, 25) and clock.now == pytest.approx(100.3)
    assert pace.hold(Fraction(1)) == 1 and clock.now == pytest.approx(101)


def test_behind_what_comes_too_late_all_is_later() -> None:
    clock = Clock()
    pace = Pace(False, clock, clock.sleep)
    pace.hold(Fraction(0))
    for number in range(1, 4):
        clock.now += 1
        assert float(pace.hold(Fraction(number, 25))) == pytest.approx(number, abs=0.001)
    assert float(pace.hold(Fraction(4, 25))) == pytest.approx(3 + 1 / 25, abs=0.001)


def test_a_live_source_is_not_held() -> None:
    clock = Clock()
    pace = Pace(True, clock, clock.sleep)
    assert [pace.hold(Fraction(time)) for time in (0, 100, 200)] == [0, 100, 200] and clock.now == 100
