"""A real RTSP server on the loopback that dies, stalls and comes back, and what reaches the labels meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest

import fcnrt
from exports import Export
from fcnrt.cli.main import main
from fcnrt.errors import MediaError
from fcnrt.video import Frame, Pipeline, open_source
from fcnrt.video.sources.generated import read_stamp
from rtsp_server import Camera, camera

KILLS = 20
PATIENCE_S = 60
QUICK = {"timeout": 3.0, "reconnect_interval": 0.05}


@pytest.fixture
def server() -> Iterator[Camera]:
    with camera() as running:
        yield running


def test_frames_of_a_stream_come_in_order_with_the_servers_times(server: Camera) -> None:
    with open_source(server.address, **QUICK) as source:
        assert source.live and source.size == (96, 128) and source.rate == 25
        frames = list(islice(source, 30))
    stamps = [read_stamp(frame.pixels) for frame in frames]
    # The server shows its pictures by the clock, so that a late one is skipped or the one before it shown again.
    assert all((after - before) % 250 < 25 for before, after in pairwise(stamps))
    assert [frame.number for frame in frames] == list(range(30))
    assert all(float(after.time - before.time) == pytest.approx(0.04, abs=0.002) for before, after in pairwise(frames))


def test_a_server_that_is_killed_and_restarted_twenty_times_is_outlived(server: Camera) -> None:
    frames: list[Frame] = []
    with open_source(server.address, **QUICK) as source:
        for kills in range(1, KILLS + 1):
            frames += islice(source, 3)
            server.kill()
            server.start()
            while source.faults["reconnections"] < kills:
                frames += islice(source, 1)
        frames += islice(source, 3)
        assert source.faults["reconnections"] == KILLS
    for number, frame in enumerate(frames):
        assert frame.number == number
        read_stamp(frame.pixels)  # whole
    assert all(before.time <= after.time for before, after in pairwise(frames))


def test_a_server_that_stalls_is_left_and_found_again(server: Camera) -> None:
    def revive() -> None:
        server.kill()
        server.start()

    with open_source(server.address, timeout=1.0, reconnect_interval=0.05) as source:
        list(islice(source, 3))
        server.stall()
        later = threading.Timer(2.0, revive)
        later.start()
        while not source.faults["reconnections"]:
            list(islice(source, 1))
        later.join(PATIENCE_S)
        assert len(list(islice(source, 3))) == 3


def test_labels_go_on_through_kills(server: Camera, exported: Export) -> None:
    """Every frame that was labelled is whole and in order, and drops and deliveries add up."""
    seen: list[Frame] = []
    model = exported("torchvision fcn")
    with (
        fcnrt.Segmenter(model) as segmenter,
        open_source(server.address, **QUICK) as source,
        Pipeline(source, segmenter) as pipeline,
    ):
        for frame, labels in pipeline:
            assert labels.shape == frame.pixels.shape[:2]
            seen.append(frame)
            if len(seen) in (5, 10):
                server.kill()
                server.start()
            if source.faults["reconnections"] == 2:
                break
    assert [frame.number for frame in seen] == sorted({frame.number for frame in seen})
    statistics = pipeline.statistics
    assert statistics.faults["reconnections"] == 2 and statistics.delivered >= len(seen)
    assert statistics.decoded - statistics.dropped - statistics.delivered in range(4)  # on their way when we left


def test_a_stream_that_is_gone_for_good_leaves_a_playable_file(
    server: Camera, exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "film.mp4"

    def kill_once_filmed() -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and sum(part.stat().st_size for part in tmp_path.iterdir()) < 10_000:
            time.sleep(0.01)
        server.kill()

    killer = threading.Thread(target=kill_once_filmed)
    killer.start()
    words = ["--timeout", "2", "--rtsp-reconnect-interval", "0.01", "--rtsp-reconnect-attempts", "3"]
    assert main(["segment", str(exported("torchvision fcn")), server.address, "-o", str(film), *words]) == 1
    killer.join(PATIENCE_S)
    captured = capsys.readouterr()
    assert f"fcnrt: {server.address}: " in captured.err and "gave up after 3 attempts" in captured.err
    assert captured.err.count("\n") == 1 and " frames in " in captured.out
    with open_source(film) as made:
        assert sum(1 for _ in made) == int(captured.out.split()[0])


def test_nobody_at_the_address_is_told_at_once() -> None:
    with camera() as gone:
        address = gone.address
    with pytest.raises(MediaError, match=r"rtsp://127\.0\.0\.1"):
        open_source(address, **QUICK)
