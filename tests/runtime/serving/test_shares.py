"""Shares of classes over a minute."""

from __future__ import annotations

import numpy as np
import pytest

from fcnrt.serving.live.shares import MinuteOfShares


def test_a_minute_is_the_mean_of_the_last_sixty_seconds() -> None:
    now = 1000.0
    minute = MinuteOfShares(2, clock=lambda: now)
    assert minute.mean.tolist() == [0, 0] and minute.frames == 0
    for second in range(200):
        now = 1000 + second / 2
        minute.add(np.array([1.0, 0.0] if second < 100 else [0.25, 0.75]))
    assert minute.frames == 120  # of the 60 s that end at 99.5 s, 100 are of the second kind
    assert minute.mean.tolist() == pytest.approx([(20 + 25) / 120, 75 / 120])
    now += 70
    assert minute.frames == 0 and minute.mean.tolist() == [0, 0]


def test_what_it_keeps_is_bounded() -> None:
    now = 0.0
    minute = MinuteOfShares(1, clock=lambda: now)
    for tick in range(100_000):
        now = tick / 30
        minute.add(np.ones(1))
    assert len(minute._seconds) <= 60
