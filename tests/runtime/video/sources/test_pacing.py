"""Live playlists, whose segments come all at once."""

from fractions import Fraction

import pytest

from fcnrt.video.sources.pacing import Pacer


class Time:
    """A clock that waits in no time."""

    def __init__(self):
        self.now = 100.0

    def wait(self, seconds):
        self.now += seconds


def test_a_segment_that_comes_at_once_is_spread_over_its_time():
    time, released = Time(), []
    pace = Pacer(time.wait, lambda: time.now)
    for index in range(50):
        pace(Fraction(index, 25))
        released.append(time.now - 100)
    assert released == pytest.approx([index / 25 for index in range(50)])


def test_a_stall_moves_the_schedule_and_lateness_within_a_frame_or_two_does_not():
    time = Time()
    pace = Pacer(time.wait, lambda: time.now)
    pace(Fraction(0))
    time.now += 0.08  # a little late
    pace(Fraction(1, 25))
    assert time.now == pytest.approx(100.08)
    pace(Fraction(3, 25))
    assert time.now == pytest.approx(100.12)
    time.now += 3  # a stall
    pace(Fraction(4, 25))
    assert time.now == pytest.approx(103.12)
    pace(Fraction(5, 25))
    assert time.now == pytest.approx(103.16)
