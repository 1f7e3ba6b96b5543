"""Threads that hand items to one another."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator

import pytest

from fcnrt.video.channels import Channel, Stage

PATIENCE_S = 20  # for what must happen; nothing is timed


def _stage(items: Iterable[int], **channels: Channel[int]) -> Stage[int]:
    return Stage("test", items, lambda item: 0.0, **channels)


def test_items_come_in_order_and_then_the_end() -> None:
    channel = Channel[int](2)
    stage = _stage(range(100), output=channel)
    stage.start()
    assert list(channel) == list(range(100))
    stage.join(PATIENCE_S)
    assert stage.count == 100 and stage.error is None


def test_a_full_channel_holds_its_stage_back() -> None:
    pulled, channel = [], Channel[int](2)
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in range(9):
            pulled.append(number)
            if number == 2:
                third.set()
            yield number

    stage = _stage(items(), output=channel)
    stage.start()
    assert third.wait(PATIENCE_S)
    stage.join(0.05)
    assert pulled == [0, 1, 2] and channel.waiting == 2
    assert list(channel) == list(range(9)) and channel.put_wait_s > 0


def test_the_newest_item_wins_where_the_oldest_is_dropped() -> None:
    channel = Channel[int](2, drop_oldest=True)
    for number in range(7):
        assert channel.put(number)
    channel.end()
    assert list(channel) == [5, 6] and channel.dropped == 5 and channel.put_wait_s == 0


def test_an_interrupt_leaves_no_channel_locked() -> None:
    """Raised where Python may handle a signal, at the start and the end of each function that the channel calls."""

    def use(channel: Channel[int]) -> None:
        for number in range(2):
            channel.put(number)
        for number in channel:
            if number == 1:
                channel.end()

    for event in range(1000):
        channel, left, passed = Channel[int](2), [event], []

        def interrupt(frame: object, kind: str, argument: object, left: list[int] = left) -> None:
            if kind in ("call", "return"):
                left[0] -= 1
                if left[0] == 0:
                    sys.setprofile(None)
                    raise KeyboardInterrupt

        sys.setprofile(interrupt)
        try:
            use(channel)
            passed.append(event)
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        other = threading.Thread(target=channel.cancel, daemon=True)
        other.start()
        other.join(PATIENCE_S)
        assert not other.is_alive(), event
        if passed and event:
            break
    assert 5 < event < 1000


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the sixth")

    channel, got = Channel[int](9), []
    stage = _stage(items(), output=channel)
    stage.start()
    with pytest.raises(ValueError, match="the sixth"):
        for item in channel:
            got.append(item)
    assert got == list(range(5)) and isinstance(stage.error, ValueError)


def test_a_channel_that_is_cancelled_ends_both_sides_and_the_stages_before() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    first, second = Channel[int](1), Channel[int](1)
    stages = [_stage(endless(), output=first), _stage(iter(first), source=first, output=second)]
    for stage in stages:
        stage.start()
    assert next(iter(second)) == 1
    second.cancel()
    for stage in stages:
        stage.join(PATIENCE_S)
    assert closed.wait(PATIENCE_S) and list(second) == [] and not first.put(1)
    assert [stage.error for stage in stages] == [None, None]


def test_cancelling_wakes_who_waits_for_an_item() -> None:
    channel = Channel[int](1)
    stage = _stage(iter(channel), source=channel)
    stage.start()
    channel.cancel()
    stage.join(PATIENCE_S)
    assert stage.count == 0 and stage.error is None


def test_waiting_is_no_work() -> None:
    """The work of a stage leaves out what it waited for items; nearly all of this one's time is that."""
    channel, go = Channel[int](1), threading.Event()
    stage = _stage(iter(channel), source=channel)
    stage.start()
    go.wait(0.2)
    channel.put(1)
    channel.end()
    stage.join(PATIENCE_S)
    assert stage.count == 1 and stage.busy_s < channel.get_wait_s and channel.get_wait_s > 0.1
