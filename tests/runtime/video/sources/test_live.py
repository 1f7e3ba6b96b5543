"""A source that outlives its connections, with doubles for the connections and for waiting."""

from __future__ import annotations

import threading
import time
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from fcnrt.errors import MediaError, MissingDependency
from fcnrt.video.frames import Frame
from fcnrt.video.sources.generated import Generated
from fcnrt.video.sources.live import Reconnecting

RATE = Fraction(25)
PIXELS = np.zeros((3, 5, 3), np.uint8)


class Connection:
    """Frames that were decoded at the given seconds of the clock, then an error or an end."""

    name, size, rate, frame_count, color, live = "rtsp://host/s", (3, 5), RATE, None, "rgb", True

    def __init__(self, decoded_at, error=None, faults=(), live=True):
        self._decoded_at, self._error, self.live = decoded_at, error, live
        self.faults, self.closed = Counter(faults), 0

    def __iter__(self):
        for number, now in enumerate(self._decoded_at):
            yield Frame(PIXELS, number / RATE, number, now)
        if self._error:
            raise MediaError(f"{self.name}: {self._error}")

    def close(self):
        self.closed += 1


class Server:
    """Opens one connection after the other; a text means that this attempt fails."""

    def __init__(self, *outcomes):
        self._outcomes, self.opened, self.waits = list(outcomes), [], []
        self.wait_hook = lambda: None

    def open(self):
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, str):
            raise MediaError(f"rtsp://host/s: cannot open: {outcome}")
        self.opened.append(outcome)
        return outcome

    def wait(self, seconds):
        self.waits.append(seconds)
        self.wait_hook()
        return False

    def reconnecting(self, **options):
        return Reconnecting(self.open, wait=self.wait, **options)


def _seconds(start, count):
    return [start + index / 25 for index in range(count)]


def _until_given_up(source):
    """All frames, and the error."""
    frames = []
    with pytest.raises(MediaError) as caught:
        for frame in source:
            frames.append(frame)
    return frames, str(caught.value)


def test_numbers_and_times_go_on_by_the_clock():
    server = Server(
        Connection(_seconds(100, 3), "gone"), Connection(_seconds(107.5, 2)), Connection(_seconds(110, 2)), "no", "no"
    )
    source = server.reconnecting(attempts=2)
    assert (source.name, source.size, source.rate, source.live) == ("rtsp://host/s", (3, 5), RATE, True)
    frames, text = _until_given_up(source)
    assert [frame.number for frame in frames] == list(range(7))
    times = ["0", "0.04", "0.08", "7.5", "7.54", "10", "10.04"]
    assert [frame.time for frame in frames] == [Fraction(time) for time in times]
    assert text == "rtsp://host/s: cannot open: no; gave up after 2 attempts"
    assert source.faults == {"reconnections": 2, "seconds lost": 10}
    assert all(connection.closed for connection in server.opened)


def test_times_do_not_run_ahead_of_the_clock():
    """A server hands over a second's frames at once when it is asked anew: twenty times that is no twenty seconds."""
    connections = [Connection([100 + 2 * index] * 25) for index in range(20)]
    frames, _ = _until_given_up(Server(*connections, "no").reconnecting(attempts=1))
    assert all(later.time > frame.time for frame, later in pairwise(frames))
    assert frames[-1].time == 2 * 19 + 24 / RATE


def test_times_do_not_fall_where_a_connection_was_ahead_of_the_clock():
    one, other = Connection([100] * 25), Connection([100.2] * 2)
    frames, _ = _until_given_up(Server(one, other, "no").reconnecting(attempts=1))
    assert [frame.time for frame in frames[-3:]] == [24 / RATE, 25 / RATE, 26 / RATE]


def test_waits_double_up_to_the_longest_and_start_anew_after_a_frame():
    fails = ["no"] * 6
    server = Server(Connection([1]), *fails, Connection([2]), *fails[:2], Connection([3]), *fails, "no")
    frames, _ = _until_given_up(server.reconnecting(interval=0.5, longest=5, attempts=7))
    assert server.waits == [0.5, 1, 2, 4, 5, 5, 5, 0.5, 1, 2, 0.5, 1, 2, 4, 5, 5, 5]
    assert [frame.number for frame in frames] == [0, 1, 2]


def test_without_attempts_it_is_never_given_up():
    server = Server(Connection([1]), *["no"] * 500, Connection([2]), *["no"] * 600)
    source = server.reconnecting(interval=0.1, longest=0.4)
    server.wait_hook = lambda: len(server.waits) == 1000 and source.close()
    assert len(list(source)) == 2
    assert server.waits[:4] == [0.1, 0.2, 0.4, 0.4] and len(server.waits) == 1000


@pytest.mark.parametrize(("attempts", "tried"), [(None, 1), (1, 1), (3, 3)])
def test_the_first_connection(attempts, tried):
    server = Server(*["refused"] * 9)
    with pytest.raises(MediaError) as caught:
        server.reconnecting(attempts=attempts)
    assert 9 - len(server._outcomes) == tried
    more = f"; gave up after {tried} attempts" if tried > 1 else ""
    assert str(caught.value) == f"rtsp://host/s: cannot open: refused{more}"


def test_the_first_connection_may_come_late():
    server = Server("no", "no", Connection([5, 5.04]), "no", "no", "no")
    source = server.reconnecting(attempts=3)
    assert server.waits == [1, 2]
    frames, _ = _until_given_up(source)
    assert [frame.time for frame in frames] == [0, 1 / RATE]
    # A frame came: waits and attempts begin anew.
    assert server.waits == [1, 2, 1, 2, 4] and source.faults == {}


def test_a_connection_without_a_frame_is_a_failure():
    server = Server(Connection([1]), Connection([], "gone"), Connection([]), Connection([]))
    frames, text = _until_given_up(server.reconnecting(attempts=3))
    assert len(frames) == 1
    assert text == "rtsp://host/s: the stream ended before its first frame; gave up after 3 attempts"


def test_faults_of_all_connections_add_up():
    server = Server(
        Connection([1], faults={"corrupt packets": 2}), Connection([2], faults={"corrupt packets": 3, "x": 1}), "no"
    )
    source = server.reconnecting(attempts=1)
    frames = iter(source)
    next(frames)
    assert source.faults == {"corrupt packets": 2}
    next(frames)
    assert source.faults == {"corrupt packets": 5, "x": 1, "reconnections": 1, "seconds lost": 1}
    with pytest.raises(MediaError):
        next(frames)
    assert source.faults == {"corrupt packets": 5, "x": 1, "reconnections": 1, "seconds lost": 1}


def test_other_errors_are_not_survived():
    def fails():
        raise MissingDependency("PyAV is needed")

    with pytest.raises(MissingDependency):
        Reconnecting(fails, attempts=5)


@pytest.mark.parametrize("error", [None, "ends early"])
def test_what_is_not_live_is_passed_through(error):
    server = Server(Connection(_seconds(1, 3), error, live=False))
    source = server.reconnecting()
    assert not source.live
    if error:
        frames, text = _until_given_up(source)
        assert text == "rtsp://host/s: ends early"
    else:
        frames = list(source)
    assert len(frames) == 3 and server.waits == [] and not source.faults


def test_closing_ends_a_wait():
    server = Server(Connection([1]), *["no"] * 9)
    source = Reconnecting(server.open, interval=1000)
    frames = iter(source)
    next(frames)
    threading.Timer(0.05, source.close).start()
    began = time.monotonic()
    assert list(frames) == []
    assert time.monotonic() - began < 500 and server.opened[0].closed


def test_closing_ends_a_read():
    source = Reconnecting(lambda: Generated("test-live:97x131@1/1000"))
    frames = iter(source)
    next(frames)
    threading.Timer(0.05, source.close).start()
    assert list(frames) == []


def test_closing_while_it_connects_closes_the_new_connection():
    first, second = Connection([1]), Connection([2])
    server = Server(first, second)
    source = server.reconnecting()
    frames = iter(source)
    next(frames)
    opened = server.open

    def opens_slowly():
        connection = opened()
        source.close()  # as another thread would
        return connection

    source._open = opens_slowly
    assert list(frames) == [] and first.closed and second.closed
    source.close()


def test_it_is_a_context_manager():
    server = Server(Connection([1, 2]))
    with server.reconnecting() as source:
        assert next(iter(source)).number == 0
    assert server.opened[0].closed and list(source) == []
