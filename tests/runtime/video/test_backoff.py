"""Pauses that double, and attempts that run out."""

from __future__ import annotations

import pytest

from fcnrt.errors import MediaError
from fcnrt.video.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(1.0, longest_s=5.0)
    assert [backoff.pause_s() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.succeed()
    assert backoff.pause_s() == 1


@pytest.mark.parametrize(("attempts", "message"), [(1, "gone$"), (3, "gone; gave up after 3 attempts$")])
def test_the_last_failure_in_a_row_is_raised(attempts: int, message: str) -> None:
    backoff = Backoff(attempts=attempts)
    for _ in range(attempts - 1):
        backoff.fail("gone")
    backoff.succeed()
    for _ in range(attempts - 1):
        backoff.fail("gone")
    with pytest.raises(MediaError, match=message):
        backoff.fail("gone")


def test_without_a_limit_it_never_ends() -> None:
    backoff = Backoff()
    for _ in range(1000):
        backoff.fail("gone")
        assert backoff.pause_s() <= 30
