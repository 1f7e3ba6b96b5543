"""Videos through pipes, session descriptions, and what FFmpeg is told from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from argparse import Namespace
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from fcnrt.cli.run import ffmpeg_options
from fcnrt.errors import MediaError
from fcnrt.video import open_source
from fcnrt.video.addresses import is_pipe, is_session, is_stream
from fcnrt.video.av_container import open_container
from fcnrt.video.av_options import check_options

av = pytest.importorskip("av")
from helpers.clips import SIZE, clip, numbers  # noqa: E402

READER = """
import sys
from fcnrt.video import open_source
from fcnrt.video.sources.generated import read_stamp
with open_source(sys.argv[1], **eval(sys.argv[2])) as source:
    print([read_stamp(frame.pixels) for frame in source], source.live)
"""


def _through_stdin(content: bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", READER, "-", repr(options)], input=content, capture_output=True)


@pytest.mark.parametrize("suffix", ["ts", "mkv", "h264", "mjpeg", "avi"])
def test_a_film_through_the_standard_input(tmp_path, suffix):
    codec, pixel_format = ("mjpeg", "yuvj420p") if suffix in ("mjpeg", "avi") else ("h264", "yuv420p")
    film = clip(tmp_path / f"a.{suffix}", codec=codec, pixel_format=pixel_format)
    done = _through_stdin(film.read_bytes())
    assert (done.stdout.decode(), done.stderr) == (f"{list(range(40))} False\n", b"")


def test_bare_pixels_through_the_standard_input():
    with open_source("test:98x134*3") as frames:
        content = b"".join(frame.pixels.tobytes() for frame in frames)
    options = {"video_size": "134x98", "pixel_format": "rgb24"}
    done = _through_stdin(content, form="rawvideo", options=options)
    assert (done.stdout.decode(), done.stderr) == ("[0, 1, 2] False\n", b"")


def test_what_cannot_come_through_a_pipe(tmp_path):
    film = clip(tmp_path / "a.mp4", options={"crf": "0"}, frames=200)  # larger than any buffer
    done = _through_stdin(film.read_bytes())
    assert b"MediaError: -: " in done.stderr and b"must have its index in front" in done.stderr
    nothing = b"MediaError: -: expected a video or pictures, the pipe ended before its first byte"
    assert nothing in _through_stdin(b"").stderr


def test_a_named_pipe(tmp_path):
    film, pipe = clip(tmp_path / "a.ts"), tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    assert is_pipe(str(pipe)) and is_stream(str(pipe)) and not is_pipe(str(film))
    writer = threading.Thread(target=lambda: pipe.write_bytes(film.read_bytes()))
    writer.start()
    with open_source(pipe) as source:
        assert numbers(source) == list(range(40)) and (source.size, source.live) == (SIZE, False)
    writer.join()


def test_a_session_description_opens_an_rtp_stream(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1
    session = tmp_path / "camera.sdp"
    session.write_text(
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
        "a=rtpmap:96 MP4V-ES/90000\n"
    )
    assert is_session(str(session)) and is_stream(str(session))
    stop = threading.Event()

    def send() -> None:
        with av.open(f"rtp://127.0.0.1:{port}", "w", format="rtp") as container, open_source("test:98x134") as frames:
            stream = container.add_stream("mpeg4", rate=25, options={"g": "5"})
            stream.height, stream.width = SIZE
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.pixels)))
                if stop.wait(0.02):
                    return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with open_source(session, timeout=20) as source:
            assert source.live and source.size == SIZE and next(iter(source)).number == 0
    finally:
        stop.set()
        sender.join()


def test_a_missing_session_description(tmp_path):
    with pytest.raises(MediaError, match=r"a\.sdp: no such file"):
        open_source(tmp_path / "a.sdp")


class _Page(BaseHTTPRequestHandler):
    def __init__(self, page: bytes, *words: object) -> None:
        self.page = page
        super().__init__(*words)

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *words: object) -> None:
        pass


@pytest.mark.parametrize(
    ("page", "hint"),
    [(b"\n<!DOCTYPE html><html>video</html>" * 9, "; it is a web page: name the"), (b"text" * 99, None)],
)
def test_a_web_page_is_told_from_a_video(page, hint):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Page, page)) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(MediaError, match="cannot open: ") as caught:
                open_container(f"http://127.0.0.1:{server.server_port}/watch?v=1", 5, {}, None)
        finally:
            server.shutdown()
    assert (hint or "") in str(caught.value) and ("web page" in str(caught.value)) == bool(hint)


@pytest.mark.parametrize("password", ["pa#ss", "pa/ss", "pa?ss"])
def test_reserved_letters_in_a_password_are_told(password):
    with pytest.raises(MediaError, match="write # as %23") as caught:
        open_container(f"rtsp://me:{password}@127.0.0.1:9/x", 5, {}, None)
    assert "pa" not in str(caught.value).split("cannot open")[0].replace("expected", "")
    assert "me:" not in str(caught.value)


def test_a_protocol_that_ffmpeg_was_built_without():
    with pytest.raises(MediaError, match=r"srt://127.0.0.1:9: cannot open: (this build|.*[rR]efused)"):
        open_container("srt://127.0.0.1:9", 5, {}, None)
    with pytest.raises(MediaError) as caught:
        open_source("gopher://x")
    assert "srt" not in str(caught.value)


OPTIONS = {"rtsp_transport": None, "input_rate": None, "camera_size": None, "input_format": None, "input_option": []}


@pytest.mark.parametrize(
    ("where", "said", "expected"),
    [
        ("rtsp://a/b", {}, {}),
        ("rtsp://a/b", {"rtsp_transport": "udp"}, {"rtsp_transport": "udp"}),
        ("rtsp://a/b", {"input_option": [("fflags", "nobuffer"), ("a", "b=c")]}, {"fflags": "nobuffer", "a": "b=c"}),
        ("-", {"input_rate": Fraction(30000, 1001)}, {"framerate": "30000/1001"}),
        ("a.raw", {"camera_size": (480, 640), "input_format": "rawvideo"}, {}),
        (
            "camera:0",
            {"camera_size": (480, 640), "input_format": "mjpeg", "input_rate": Fraction(30)},
            {"video_size": "640x480", "input_format": "mjpeg", "framerate": "30"},
        ),
    ],
)
def test_what_the_command_line_tells_ffmpeg(where, said, expected):
    assert ffmpeg_options(where, Namespace(**{**OPTIONS, **said})) == expected


def test_options_reach_the_demuxer(tmp_path):
    film = clip(tmp_path / "a.h264")
    assert [frame.time for frame in open_source(film, options={"framerate": "50"})][1] == Fraction(1, 50)
    assert np.array_equal([frame.number for frame in open_source(film, form="h264")], range(40))
    with pytest.raises(MediaError, match="cannot open"):
        open_source(film, form="mov")


def test_options_that_ffmpeg_does_not_know_are_refused(tmp_path):
    film = clip(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match="nonsens: expected an option that FFmpeg's demuxers or protocols have"):
        open_source(film, options={"fflags": "nobuffer", "nonsens": "1"})
    known = (
        "fflags",
        "probesize",
        "rtsp_transport",
        "pixel_format",
        "user_agent",
        "timeout",
        "input_format",
        "max_delay",
    )
    check_options(av, known)  # of all formats, of a demuxer, of a protocol, of a camera


def test_where_ffmpegs_libraries_are_not_found_its_options_are_not_judged(tmp_path):
    check_options(SimpleNamespace(__file__=str(tmp_path / "av/__init__.py")), ["nonsens"])
