"""Shares of classes, of a frame and over a minute."""

from __future__ import annotations

import numpy as np
import pytest

from fcnrt.serving.shares import MinuteOfShares, class_shares


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shares_are_those_of_the_picture_and_add_up_to_1(dtype: type) -> None:
    labels = np.random.default_rng(3).integers(0, 6, (17, 31)).astype(dtype)
    shares = class_shares(labels, 7)
    assert shares == pytest.approx([(labels == index).mean() for index in range(7)])
    assert shares.sum() == pytest.approx(1) and shares[6] == 0


def test_void_is_left_out() -> None:
    labels = np.full((4, 5), 255, np.uint8)
    assert class_shares(labels, 3).tolist() == [0, 0, 0]
    labels[0] = 1
    assert class_shares(labels, 3).tolist() == [0, 1, 0]


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
