"""Network streams through PyAV: servers that fall silent, break off or refuse; cameras; options."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from fcnrt.errors import MediaError
from fcnrt.video import av_container
from fcnrt.video.sources.av_reader import AvReader
from fcnrt.video.sources.generated import Generated

av = pytest.importorskip("av")
from clips import clip, drained, numbers  # noqa: E402
from servers import serving  # noqa: E402

SECRETS = "user:password@"


def _assert_secret(error):
    told = f"{error} {error.__cause__} {error.__suppress_context__ or error.__context__}"
    assert "password" not in told and "token" not in told and "\n" not in str(error)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@contextlib.contextmanager
def file_server(folder):
    """Serve the files of a folder; host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()


def test_a_video_by_http_is_not_live_where_its_length_is_known(tmp_path):
    path = clip(tmp_path / "a.mp4", container_options={"movflags": "faststart"})
    with serving(path.read_bytes()) as address, AvReader(f"http://{SECRETS}{address}/a.mp4?token=1") as source:
        assert (source.live, source.frame_count, source.name) == (False, 40, f"http://{address}/a.mp4?...")
        assert numbers(source) == list(range(40))


def test_a_video_by_http_that_breaks_off(tmp_path):
    data = clip(tmp_path / "a.mp4", container_options={"movflags": "faststart"}).read_bytes()
    with serving(data, send=len(data) * 3 // 4) as address, AvReader(f"http://{address}/a.mp4") as source:
        frames, error = drained(source)
    assert 20 < len(frames) < 40 and numbers(frames) == list(range(len(frames)))
    assert str(error).startswith((f"http://{address}/a.mp4: cannot read on", f"http://{address}/a.mp4: ends early"))


def test_a_file_in_packets_by_http_is_not_live_where_its_size_is_known(tmp_path):
    """Taken for live it would be fetched again and again."""
    data = clip(tmp_path / "a.ts").read_bytes()
    with serving(data) as address, AvReader(f"http://{address}/a.ts") as source:
        assert not source.live and numbers(source) == list(range(40))


@pytest.mark.parametrize(("end", "live"), [("", True), ("#EXT-X-ENDLIST\n", False)])
def test_a_playlist_by_http_is_live_until_it_has_an_end(tmp_path, end, live):
    clip(tmp_path / "a.ts", frames=25)
    segment = "#EXTINF:1.0,\na.ts\n"
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"
    (tmp_path / "a.m3u8").write_text(f"{head}{segment}{end}")
    with file_server(tmp_path) as address, AvReader(f"http://{address}/a.m3u8", timeout=5) as source:
        assert source.live is live


def test_pictures_without_times_are_timed_by_the_clock(tmp_path):
    """As cheap cameras send them, at whatever rate."""
    parts = []
    for pixels in (frame.pixels for frame in Generated("test:96x128*30")):
        picture = io.BytesIO()
        Image.fromarray(pixels).save(picture, "JPEG", quality=90)
        header = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {picture.tell()}\r\n\r\n"
        parts += [header.encode(), picture.getvalue(), b"\r\n"]
    status = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next"
    with serving(b"".join(parts), status=status, length=None) as at, AvReader(f"http://{at}/video.mjpg") as source:
        assert source.live and source.rate is None
        frames, _ = drained(source)
    assert numbers(frames) == list(range(len(frames))) and len(frames) >= 29
    for frame in frames:
        assert float(frame.time) == pytest.approx(frame.decoded_at - frames[0].decoded_at)


@pytest.mark.parametrize("audio_s", [0, 3])
def test_an_endless_stream_by_http_is_live(tmp_path, audio_s):
    data = clip(tmp_path / "a.ts", frames=60, audio_s=audio_s).read_bytes()
    with serving(data, length=None) as address, AvReader(f"http://{address}/live") as source:
        assert (source.live, source.frame_count) == (True, None)
        # Threads that each work on a frame would hold frames back.
        assert source._stream.thread_type == av.codec.context.ThreadType.SLICE
        # Sound would hide that the picture stands still.
        assert all(stream.discard == av.stream.Discard.all for stream in source._container.streams.audio)
        assert len(source._container.streams.audio) == bool(audio_s)
        frames, error = drained(source)
    assert numbers(frames) == list(range(60))
    assert str(error).endswith("/live: cannot read on: Input/output error")  # as FFmpeg calls an end without a length


@pytest.mark.parametrize("kind", ["http", "rtsp", "tcp"])
def test_a_server_that_never_answers(kind):
    with serving(b"", answer=False) as address:
        began = time.monotonic()
        with pytest.raises(MediaError, match=f"{kind}://{address}/a[?]...: cannot open: no answer for 0.3 s") as caught:
            AvReader(f"{kind}://{SECRETS}{address}/a?token=1", timeout=0.3)
    assert time.monotonic() - began < 10
    _assert_secret(caught.value)


@pytest.mark.parametrize("kind", ["http", "rtsp", "rtmp", "tcp"])
def test_no_server(kind):
    with serving(b"") as address:
        pass
    with pytest.raises(MediaError, match=f"{kind}://{address}/a[?]...: cannot open: .*refused") as caught:
        AvReader(f"{kind}://{SECRETS}{address}/a?token=1", timeout=2)
    _assert_secret(caught.value)


def test_a_server_that_sends_something_else():
    expected = pytest.raises(MediaError, match="cannot open: expected an answer that is video")
    with serving(b"<html>Not here, sorry</html>") as address, expected as caught:
        AvReader(f"http://{SECRETS}{address}/a?token=1", timeout=2)
    _assert_secret(caught.value)


def test_a_server_that_says_no():
    expected = pytest.raises(MediaError, match=r"cannot open: .*401")
    with serving(b"", status="401 Unauthorized") as address, expected as caught:
        AvReader(f"http://{SECRETS}{address}/a?token=1", timeout=2)
    _assert_secret(caught.value)


def test_a_stream_that_falls_silent(tmp_path):
    data = clip(tmp_path / "a.ts", frames=60).read_bytes()
    with serving(data, length=None, hang=True) as address, AvReader(f"http://{address}/live", timeout=0.4) as source:
        frames, error = drained(source)
    assert str(error) == f"http://{address}/live: cannot read on: no answer for 0.4 s"
    assert len(frames) >= 55 and numbers(frames) == list(range(len(frames)))


class _Trickle:
    """A container whose packets come, each after `pause_s`, but from the tenth on hold no picture."""

    def __init__(self, container, clock, pause_s):
        self._container, self._clock, self._pause_s = container, clock, pause_s

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self):
        packets = list(self._container.demux())
        yield from packets[:10]
        for packet in packets[10:-1] * 99:
            self._clock[0] += self._pause_s
            empty = av.Packet(8)
            empty.stream, empty.time_base = packet.stream, packet.time_base
            yield empty


@pytest.mark.parametrize(
    ("pause_s", "expected"),
    [
        (0.5, "no picture for 3 s"),  # after six of them
        (0.99, "no picture for 3 s"),
        (1.0, "no answer for 1 s"),
    ],
)
def test_a_stream_whose_picture_stands_still(tmp_path, monkeypatch, pause_s, expected):
    path, clock = clip(tmp_path / "a.ts"), [100.0]
    monkeypatch.setattr("fcnrt.video.sources.av_reader.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "fcnrt.video.sources.av_reader.open_container", lambda *arguments: _Trickle(av.open(str(path)), clock, pause_s)
    )
    with AvReader("rtsp://h/s", timeout=1) as source:
        frames, error = drained(source)
    assert str(error) == f"rtsp://h/s: cannot read on: {expected}"
    assert clock[0] == pytest.approx(100 + pause_s * (1 if pause_s == 1 else -(-3 // pause_s)))
    assert len(frames) >= 8


def test_a_slow_user_of_frames_is_no_silent_server(tmp_path, monkeypatch):
    path, clock = clip(tmp_path / "a.ts"), [100.0]
    monkeypatch.setattr("fcnrt.video.sources.av_reader.monotonic", lambda: clock[0])
    monkeypatch.setattr("fcnrt.video.sources.av_reader.open_container", lambda *arguments: av.open(str(path)))
    with AvReader("rtsp://h/s", timeout=1) as source:
        for number, frame in enumerate(source):
            assert frame.number == number
            clock[0] += 5
    assert number == 39


def test_closing_ends_a_blocked_read_within_the_timeout(tmp_path):
    data = clip(tmp_path / "a.ts", frames=60).read_bytes()
    with serving(data, length=None, hang=True) as address:
        source = AvReader(f"http://{address}/live", timeout=1)
        read, ended = [], threading.Event()

        def reader():
            read.extend(frame.number for frame in source)
            ended.set()

        thread = threading.Thread(target=reader)
        thread.start()
        time.sleep(0.2)  # until it waits for what does not come
        source.close()
        assert ended.wait(20)
        thread.join()
        source.close()
    assert list(source) == []


def test_a_camera_that_is_not_there():
    with pytest.raises(MediaError, match="camera:77: expected a camera, found no /dev/video77"):
        AvReader("camera:77")


def test_options_go_to_ffmpeg(tmp_path, monkeypatch):
    given = {}

    def opened(where, **options):
        given.update(options, where=where)
        raise av.error.ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(av_container.pyav(), "open", opened)
    for where, options in (("rtsp://h/s", {}), ("rtsp://h/s", {"rtsp_transport": "udp", "max_delay": "5"})):
        with pytest.raises(MediaError, match="cannot open: Connection refused"):
            AvReader(where, timeout=7, options=options)
        assert (
            given["options"] == {"rtsp_transport": "tcp", **av_container.LIVE_OPTIONS, **options}
            and given["timeout"] == 7
        )
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    with pytest.raises(MediaError):
        AvReader(path)
    assert given["where"] == str(path) and given["timeout"] is None
    assert given["options"]["protocol_whitelist"] == "file"
