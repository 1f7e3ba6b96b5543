"""Labelled video that is pushed to real servers on the loopback, which die, stall and come back."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from exports import Export
from fcnrt.cli.main import main
from fcnrt.errors import MediaError
from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.palette import voc_palette
from fcnrt.video.frames import Labelled
from fcnrt.video.sinks.push import Patience, PushVideo
from fcnrt.video.sources import open_source
from receiver import receiver

KILLS = 20
PATIENCE_S = 60  # for what must happen; nothing is timed
SIZE = (242, 318)
RNG = np.random.default_rng(5)


def pushing(address: str, timeout: float = 10.0, attempts: int | None = None) -> PushVideo:
    source = open_source(f"test-live:{SIZE[0]}x{SIZE[1]}@25")
    return PushVideo(address, source, Drawing(voc_palette(21), 0.2), Patience(timeout, 0.05, attempts))


@contextlib.contextmanager
def feeding(sink: PushVideo, grain: int = 0) -> Iterator[list[int]]:
    """Give a sink frames, 25 per second, until the block ends; the numbers of those that it took.

    Grain, up to 255, makes them large.
    """
    ended, given = threading.Event(), list[int]()

    def feed() -> None:
        with open_source(f"test-live:{SIZE[0]}x{SIZE[1]}@25") as source:
            for frame in source:
                if ended.is_set():
                    break
                if grain:
                    frame.pixels[40:] = RNG.integers(0, grain, frame.pixels[40:].shape, np.uint8)
                sink.write(sink.draw(Labelled(frame, np.zeros(frame.pixels.shape[:2], np.uint8))))
                given.append(frame.number)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield given
    finally:
        ended.set()
        thread.join(PATIENCE_S)
        sink.close()


def await_(happened: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["rtsp", "rtmp", "udp"])
def test_a_server_gets_every_frame_at_its_time(kind: str) -> None:
    with receiver(kind) as server:
        sink = pushing(server.address)
        with feeding(sink) as given:
            await_(lambda: len(server.runs[0]) >= 30)
        if kind == "rtsp":  # others do not notice an end
            server.end(PATIENCE_S)
            assert len(server.runs[0]) == len(given) - sink.dropped
    numbers = [number for number, _ in server.runs[0]]
    assert numbers == sorted(set(numbers)) and set(numbers) <= set(given)
    timed = [(number, time) for number, time in server.runs[0] if not math.isnan(time)]
    assert len(timed) > 20
    for (before, then), (after, now) in pairwise(timed):
        assert now - then == pytest.approx((after - before) / 25, abs=0.002)
    assert sink.dropped + sink.delivered == len(given)


def test_a_server_that_is_killed_and_restarted_twenty_times_is_found_again() -> None:
    with receiver() as server:
        sink = pushing(server.address)
        with feeding(sink) as given:
            for _ in range(KILLS):
                assert server.arrival.wait(PATIENCE_S)
                server.kill()
                server.start()
            assert server.arrival.wait(PATIENCE_S)
    assert all(server.runs) and sink.reconnections == KILLS
    numbers = [number for run in server.runs for number, _ in run]
    assert numbers == sorted(set(numbers))
    assert sink.dropped + sink.delivered == len(given) and sink.dropped
    assert sink.notes == [f"{server.address}: {sink.dropped} frames dropped, {KILLS} reconnections"]


@pytest.mark.parametrize("kind", ["rtsp", "rtmp"])
def test_a_server_that_stalls_is_left_and_found_again(kind: str) -> None:
    with receiver(kind) as server:
        sink = pushing(server.address, timeout=1.0)
        with feeding(sink, grain=255) as given:
            assert server.arrival.wait(PATIENCE_S)
            server.stall()
            await_(lambda: sink.dropped > 3)  # as soon as the network's buffers are full
            taken = len(given)
            await_(lambda: len(given) > taken + 5)  # nobody waits for it
            server.kill()
            server.start()
            assert server.arrival.wait(PATIENCE_S)
    assert sink.reconnections >= 1


def test_nobody_at_the_address_is_told_at_once() -> None:
    with receiver() as gone:
        address = gone.address
    with pytest.raises(MediaError, match=rf"{address}: Connection refused"):
        pushing(address)


def test_a_server_that_is_gone_for_good_ends_the_run() -> None:
    (frame,) = open_source(f"test:{SIZE[0]}x{SIZE[1]}*1")
    with receiver() as server, contextlib.closing(pushing(server.address, attempts=3)) as sink:
        drawn = sink.draw(Labelled(frame, np.zeros(SIZE, np.uint8)))
        with pytest.raises(MediaError, match="Connection refused; gave up after 3 attempts"):
            for _ in range(50 * PATIENCE_S):
                sink.write(drawn)
                if server.arrival.wait(0.02):
                    server.kill()
                    server.arrival.clear()


def test_another_address_is_refused() -> None:
    with pytest.raises(MediaError, match=r"ftp://server: expected an address that begins with rtsp, .*, udp"):
        pushing("ftp://me:secret@server")


def test_the_command_line_pushes(exported: Export, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(exported("torchvision fcn"))
    with receiver() as server:
        address = server.address.replace("//", "//me:secret@")
        assert main(["segment", model, "test:98x134@25*40", "-o", address]) == 0
        server.end(PATIENCE_S)
        numbers = [number for number, _ in server.runs[0]]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 39
    printed = capsys.readouterr()
    dropped = f"fcnrt: {server.address}: {40 - len(numbers)} frames dropped\n"  # on a machine that is too slow
    assert printed.out.endswith(f"-> {server.address}\n") and printed.err == ("" if len(numbers) == 40 else dropped)
    assert main(["segment", model, "test:98x134@25*40", "-o", address]) == 1
    assert f"{server.address}: Connection refused" in capsys.readouterr().err
