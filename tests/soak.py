"""Long runs, for `make soak`; `make test` leaves them out. FCNRT_SOAK_MINUTES (10) is how long each takes.

Each generated frame carries its number in its pixels, which is read back from what was written.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.video import Drawing, OverlayVideo, Pipeline, open_source
from fcnrt.video.sources.generated import read_stamp

SECONDS = 60 * float(os.environ.get("FCNRT_SOAK_MINUTES", "10"))
WARM_UP = 0.2  # of the time, after which memory must not grow any more
MOST_GROWTH_MB = 5.0  # over the rest of the time, by the line through the samples
KILLS = 20


class MemorySamples:
    """Resident memory of this process, sampled until the `with` block ends."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> MemorySamples:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def growth_mb(self) -> float:
        """By the line of least squares, from the end of the warm-up to the end."""
        seconds, megabytes = np.array(self._samples).T
        settled = seconds >= seconds[0] + WARM_UP * (seconds[-1] - seconds[0])
        slope, _ = np.polyfit(seconds[settled], megabytes[settled], 1)
        return float(slope * np.ptp(seconds[settled]))

    def _sample(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self._ended.wait(SECONDS / 600):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self._samples.append((time.monotonic(), pages * page / 1e6))


@pytest.fixture
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


def run(model: Path, where: str, film: Path, on_frame: Callable[[int], None] = lambda count: None) -> Pipeline:
    """Film the overlay of a source for the time of a soak."""
    until = time.monotonic() + SECONDS
    with fcnrt.Segmenter(model, threads=1) as segmenter, open_source(where, reconnect_interval=0.1) as source:
        sink = OverlayVideo(film, source, Drawing(segmenter.palette))
        with MemorySamples() as memory, Pipeline(source, segmenter, [sink]) as pipeline:
            for count, _ in enumerate(pipeline):
                on_frame(count)
                if time.monotonic() > until:
                    break
    print(f"\n{pipeline.statistics}\nmemory grew by {memory.growth_mb():.2f} MB after the warm-up")
    assert memory.growth_mb() <= MOST_GROWTH_MB
    return pipeline


def stamps(film: Path) -> list[int]:
    with open_source(film) as made:
        return [read_stamp(frame.pixels) for frame in made]


def test_no_frame_of_a_file_is_lost(model: Path, tmp_path: Path) -> None:
    # Matroska, because an MP4's index takes a hundred bytes of memory a frame, and frames come as fast as they can.
    statistics = run(model, "test:480x641@30", tmp_path / "film.mkv").statistics
    assert stamps(tmp_path / "film.mkv") == list(range(statistics.delivered)) and statistics.dropped == 0


def test_a_stream_whose_server_dies_again_and_again(model: Path, tmp_path: Path) -> None:
    from rtsp_server import camera

    with camera(count=500) as server:
        ended = threading.Event()

        def kill_now_and_then() -> None:
            while not ended.wait(SECONDS / (KILLS + 1)):
                server.kill()
                server.start()

        killer = threading.Thread(target=kill_now_and_then)
        killer.start()
        try:
            statistics = run(model, server.address, tmp_path / "film.mp4").statistics
        finally:
            ended.set()
            killer.join()
    written = stamps(tmp_path / "film.mp4")
    film = next(stage for stage in statistics.stages if stage.name.startswith("write"))
    assert len(written) == film.frames
    assert statistics.faults["reconnections"] >= KILLS - 1
    # The server's 500 frames come round, and start again with each server; otherwise they rise, or it repeats one.
    falls = sum(after < before for before, after in pairwise(written))
    assert falls <= KILLS + SECONDS * 25 / 500 + 1


def test_a_live_source_stays_young(model: Path, tmp_path: Path) -> None:
    """However long it runs, frames are labelled as young as at the beginning."""
    statistics = run(model, "test-live:96x129@25", tmp_path / "film.mp4").statistics
    written = stamps(tmp_path / "film.mp4")
    assert written == sorted(set(written)) and statistics.decoded >= 0.9 * 25 * SECONDS
    film = statistics.stages[-1]
    assert film.age_ms and film.age_ms[0] < 1000
