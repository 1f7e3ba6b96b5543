"""Which source is opened for what."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from fcnrt.errors import MediaError, MissingDependency
from fcnrt.pictures.writing import write_image
from fcnrt.video import sources
from fcnrt.video.sources import open_source
from fcnrt.video.sources.av_reader import AvReader
from fcnrt.video.sources.generated import Generated
from fcnrt.video.sources.live import Reconnecting
from fcnrt.video.sources.opencv_reader import OpenCvReader
from fcnrt.video.sources.stills import Stills

pytest.importorskip("av")
from clips import clip, numbers
from servers import serving


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "a.mp4", frames=3).rename(tmp_path / "x[1].mp4")
    clip(tmp_path / "a.mp4", frames=3)
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "pictures" / name, np.zeros((3, 5, 3), np.uint8))
    return tmp_path


@pytest.mark.parametrize(
    ("where", "kind", "count"),
    [
        ("a.mp4", AvReader, 3),
        ("x[1].mp4", AvReader, 3),
        ("pictures", Stills, 2),
        ("pictures/*.png", Stills, 2),
        ("pictures/a.png", Stills, 1),
        ("test:97x131*4", Generated, 4),
        ("test-live:97x131@1000*4", Generated, 4),
    ],
)
def test_names(files, where, kind, count):
    with open_source(where) as source:
        assert type(source) is kind and source.name == where
        assert len(list(source)) == count
    assert list(source) == []


def test_a_path(files):
    assert numbers(open_source(files / "a.mp4")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("none.mp4", "none.mp4: no such file"),
        ("none", "none: no such file"),
        ("none/*.png", "no picture or video there"),
        ("none.png", "none.png: no such file or folder"),
        ("*.mp4", "expected pictures alone, found a.mp4 among them"),
        ("test:5", "expected test:HxW@RATE[*]FRAMES"),
        ("xyz://host/a", "xyz://host/a: expected an address that begins with"),
        ("camera:77", "camera:77: expected a camera, found no /dev/video77"),
    ],
)
def test_what_is_not_there(files, where, expected):
    with pytest.raises(MediaError, match=expected):
        open_source(where)


def test_an_address_is_opened_with_what_was_asked_for(monkeypatch):
    asked = {}

    class Opened(AvReader):
        live, name, size, rate, frame_count, color, faults = True, "n", (3, 5), None, None, "rgb", {}

        def __init__(self, where, **options):
            asked.update(options, where=where)

        def close(self):
            pass

    monkeypatch.setattr(sources, "AvReader", Opened)
    monkeypatch.setattr(sources, "Reconnecting", lambda connect, **options: (connect(), asked.update(options)))
    options = {"rtsp_transport": "udp"}
    open_source("rtsp://h/s", timeout=3, reconnect_interval=2, reconnect_attempts=5, options=options, hwaccel="cuda")
    assert asked == {
        "where": "rtsp://h/s",
        "form": None,
        "deinterlace": "auto",
        "timeout": 3,
        "options": options,
        "hwaccel": "cuda",
        "interval": 2,
        "attempts": 5,
    }


def test_a_live_stream_is_connected_anew(tmp_path):
    data = clip(tmp_path / "a.ts", frames=60).read_bytes()
    with serving(data, length=None) as address:
        with open_source(f"http://u:p@{address}/live", timeout=5, reconnect_interval=0.01) as source:
            assert type(source) is Reconnecting and source.name == f"http://{address}/live"
            frames = [frame for frame, _ in zip(source, range(150), strict=False)]
        assert source.faults["reconnections"] == 2
    assert numbers(frames) == [index % 60 for index in range(150)]
    assert all(later.time > frame.time for frame, later in itertools.pairwise(frames))


def test_a_video_by_http_is_read_once(tmp_path):
    data = clip(tmp_path / "a.mp4", container_options={"movflags": "faststart"}).read_bytes()
    with serving(data) as address, open_source(f"http://{address}/a.mp4") as source:
        assert numbers(source) == list(range(40)) and not source.live and not source.faults


def test_no_server_is_told_at_once(tmp_path):
    with serving(b"") as address:
        pass
    with pytest.raises(MediaError, match=f"rtsp://{address}/s: cannot open: Connection refused$"):
        open_source(f"rtsp://u:p@{address}/s")
    with pytest.raises(MediaError, match=r"cannot open: Connection refused; gave up after 2 attempts$"):
        open_source(f"rtsp://u:p@{address}/s", reconnect_attempts=2, reconnect_interval=0.01)


def test_opencv_serves_where_pyav_is_not_installed(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with open_source("a.mp4") as source:
        assert type(source) is OpenCvReader and numbers(source) == [0, 1, 2]
    for asked in ({"options": {"a": "b"}}, {"hwaccel": "cuda"}):
        with pytest.raises(MissingDependency, match="PyAV is needed"):
            open_source("a.mp4", **asked)


def test_without_either_it_says_what_to_install(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match=r"videos need PyAV or OpenCV: .* -m pip install .*\[video\]"):
        open_source("a.mp4")


def test_cameras_elsewhere_than_on_linux_are_opencvs(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(sources, "OpenCvReader", lambda where, timeout: (where, timeout))
    monkeypatch.setattr(sources, "Reconnecting", lambda connect, **_: connect())
    assert open_source("camera:0", timeout=4) == ("camera:0", 4)
