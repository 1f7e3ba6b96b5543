"""Times that never fall."""

from fractions import Fraction

import pytest

from fcnrt.video.clock import Clock

STEP = Fraction(1, 25)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["7", "7.04", "7.1", "9"], ["0", "0.04", "0.1", "2"]),
        (["-1", "-0.96"], ["0", "0.04"]),
        ([None, None, None], ["0", "0.04", "0.08"]),
        (["3", None, "3.1", None], ["0", "0.04", "0.1", "0.14"]),
        ([None, "3", "3.04"], ["0", "0.04", "0.08"]),
        (["0", "0.04", "0.03", "0.08"], ["0", "0.04", "0.04", "0.08"]),
        (["0", "5", "0", "0.04"], ["0", "5", "5.04", "5.08"]),
        (["0", "5", "3.9"], ["0", "5", "5.04"]),
        (["0", "10000", "10000.04"], ["0", "10000", "10000.04"]),
    ],
)
def test_a_clock(given, told):
    clock = Clock(STEP, restarts=False)
    assert [clock.tell(time and Fraction(time)) for time in given] == [Fraction(time) for time in told]


def test_a_leap_forwards_is_a_new_start_where_streams_are_joined():
    clock = Clock(STEP, restarts=True)
    told = [clock.tell(Fraction(time)) for time in ("0", "9.5", "20", "20.04", "0")]
    assert told == [0, Fraction("9.5"), Fraction("9.54"), Fraction("9.58"), Fraction("9.62")]
