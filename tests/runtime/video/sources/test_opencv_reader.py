"""Decoding with OpenCV, where PyAV is not installed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from fcnrt.errors import MediaError, MissingDependency
from fcnrt.video.sources.av_reader import AvReader
from fcnrt.video.sources.opencv_reader import OpenCvReader

cv2 = pytest.importorskip("cv2")
pytest.importorskip("av")
from clips import RATE, SIZE, clip, numbers, sound  # noqa: E402
from servers import serving  # noqa: E402


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.webm"])
def test_a_video_is_read_as_pyav_reads_it(tmp_path, name):
    path = clip(tmp_path / name, codec="vp9" if name == "a.webm" else "h264")
    with OpenCvReader(path) as source:
        frames = list(source)
    assert numbers(frames) == [frame.number for frame in frames] == list(range(40))
    assert [frame.time for frame in frames] == [index / RATE for index in range(40)]
    assert (source.name, source.size, source.rate, source.frame_count) == (str(path), SIZE, RATE, 40)
    assert (source.live, source.color, source.faults) == (False, "rgb", {})
    for frame, other in zip(frames, AvReader(path), strict=True):
        assert abs(frame.pixels.astype(int) - other.pixels).max() <= 3


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_variable_rate(tmp_path, container):
    times = [Fraction(time) for time in ("0", "0.04", "0.1", "0.5", "0.52", "2")]
    frames = list(OpenCvReader(clip(tmp_path / f"a.{container}", times=[time + 3 for time in times])))
    assert [frame.time for frame in frames] == times


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_clips_come_upright(tmp_path, rotation):
    path = clip(tmp_path / "a.mp4", frames=2, rotation=rotation)
    with OpenCvReader(path) as source:
        frame = next(iter(source))
    assert source.size == frame.pixels.shape[:2] == (SIZE if rotation == 180 else SIZE[::-1])
    assert abs(frame.pixels.astype(int) - next(iter(AvReader(path))).pixels).max() <= 3


def test_rates_are_fractions(tmp_path):
    path = clip(tmp_path / "a.mkv", times=[round(index * 1001 / 30) / 1000 for index in range(60)])
    assert OpenCvReader(path).rate in (Fraction(30000, 1001), Fraction(30), Fraction(25))


def test_size_may_change_on_the_way(tmp_path):
    parts = clip(tmp_path / "a.ts", frames=20), clip(tmp_path / "b.ts", frames=20, size=(66, 98), first_number=20)
    path = tmp_path / "c.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(OpenCvReader(path))
    assert all(later.time >= frame.time for frame, later in itertools.pairwise(frames))
    assert {frame.pixels.shape for frame in frames} >= {(*SIZE, 3)}


def test_a_long_video_that_ends_early(tmp_path):
    path = clip(tmp_path / "a.mp4", frames=600, size=(8, 32), container_options={"movflags": "faststart"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    frames = []
    with pytest.raises(MediaError, match=r"a\.mp4: ends early, after \d+ of about 600 frames; the file is cut off"):
        for frame in OpenCvReader(path):
            frames.append(frame.number)
    assert 100 < len(frames) < 350


BROKEN = {
    "text": lambda path: path.write_text("no video at all\n" * 40),
    "cut off": lambda path: path.write_bytes(clip(path).read_bytes()[:9000]),
    "playlist": lambda path: path.write_text("ffconcat version 1.0\nfile secret.ts\n"),
    "sound": sound,
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_video_is_one_error_and_silence(tmp_path, damage):
    """In a process of its own: FFmpeg writes past Python, and keeps its level from the first use."""
    clip(tmp_path / "secret.ts")
    path = tmp_path / "b.mp4"
    BROKEN[damage](path)
    code = (
        "import sys; from fcnrt.video.sources.opencv_reader import OpenCvReader; from fcnrt.errors import MediaError\n"
        "try: print(sum(1 for _ in OpenCvReader(sys.argv[1])))\n"
        "except MediaError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("OPENCV_FFMPEG_LOGLEVEL", None)
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: cannot decode a single frame; expected a whole, readable video file\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "expected a video file, got a folder"),
        (lambda path: path.touch(), "expected a video file, got an empty one"),
    ],
)
def test_no_file(tmp_path, make, expected):
    make(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match=rf"a\.mp4: {expected}"):
        OpenCvReader(tmp_path / "a.mp4")


def test_no_server():
    with serving(b"") as address:
        pass
    with pytest.raises(MediaError, match=f"http://{address}/a[?]...: cannot decode a single frame") as caught:
        OpenCvReader(f"http://user:password@{address}/a?token=1", timeout=1)
    assert "password" not in str(caught.value)


def test_a_stream_by_http(tmp_path):
    data = clip(tmp_path / "a.ts", frames=60).read_bytes()
    with serving(data, length=None) as address, OpenCvReader(f"http://{address}/live", timeout=5) as source:
        assert (source.name, source.live, source.frame_count) == (f"http://{address}/live", True, None)
        assert numbers(source) == list(range(60))


def test_a_camera(monkeypatch):
    """By a double: frames without times of their own come at those of the clock."""
    now = iter([100.0, 100.5, 101.25])

    class Camera:
        def __init__(self, *arguments):
            assert arguments == (3,)
            self.left = 3

        def read(self):
            self.left -= 1
            return self.left >= 0, np.full((4, 6, 3), (10, 20, 30), np.uint8)

        def get(self, _):
            return 0.0

        def release(self):
            self.left = 0

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr("fcnrt.video.sources.opencv_reader.monotonic", lambda: next(now))
    with OpenCvReader("camera:3") as source:
        assert (source.name, source.live, source.rate, source.size) == ("camera:3", True, None, (4, 6))
        frames = list(source)
    assert [frame.time for frame in frames] == [0, Fraction(1, 2), Fraction(5, 4)]
    assert (frames[0].pixels == (30, 20, 10)).all()


def test_opencv_gets_its_log_level_and_its_options_back(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)
    logging = cv2 if hasattr(cv2, "getLogLevel") else cv2.utils.logging
    before = logging.getLogLevel()
    path = clip(tmp_path / "a.mp4", frames=2)
    list(OpenCvReader(path))
    assert logging.getLogLevel() == before and "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
    list(OpenCvReader(path))
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "threads;1"


def test_nothing_comes_after_closing(tmp_path):
    source = OpenCvReader(clip(tmp_path / "a.mp4"))
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == [] and list(source) == []


def test_without_opencv(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match=r"OpenCV is needed for this: .* -m pip install opencv-python"):
        OpenCvReader(tmp_path / "a.mp4")
