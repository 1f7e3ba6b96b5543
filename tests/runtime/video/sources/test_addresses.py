"""What a source's name says, and what of it is told."""

import pytest

from fcnrt.errors import MediaError
from fcnrt.video.addresses import camera, is_stream, public, scheme


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("rtsp://host/stream", "rtsp://host/stream"),
        ("rtsp://user:password@host:554/stream", "rtsp://host:554/stream"),
        ("rtsp://user:p@ss@host/stream", "rtsp://host/stream"),
        ("rtsp://user:pa/ss@host/stream", "rtsp://host/stream"),
        ("rtsp://user:pa?ss@host/stream", "rtsp://host/stream"),
        ("http://host:8080?mail=a@b", "http://host:8080?..."),
        ("rtsp://user@host", "rtsp://host"),
        ("RTSP://u:p@host", "RTSP://host"),
        ("http://host/video.cgi?user=admin&pwd=1234", "http://host/video.cgi?..."),
        ("srt://host:9000?passphrase=secret", "srt://host:9000?..."),
        ("clip@home?.mp4", "clip@home?.mp4"),
        ("camera:0", "camera:0"),
    ],
)
def test_secrets_are_not_told(where, shown):
    assert public(where) == shown


@pytest.mark.parametrize(
    ("where", "kind"),
    [("rtsp://h/s", "rtsp"), ("HTTPS://h", "https"), ("a.mp4", None), ("name:rest.mp4", None), ("/a://b", None)],
)
def test_schemes(where, kind):
    assert scheme(where) == kind


@pytest.mark.parametrize("where", ["concat://a", "file:///etc/passwd", "pipe://0", "ftp://user:secret@host/a"])
def test_other_schemes_are_refused(where):
    with pytest.raises(MediaError, match="expected an address that begins with rtsp, ") as caught:
        scheme(where)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("where", "index"),
    [("camera:0", 0), ("camera:12", 12), ("/dev/video3", 3), ("camera:", None), ("camera:x", None), ("video3", None)],
)
def test_cameras(where, index):
    assert camera(where) == index


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        *((where, True) for where in ("rtsp://h/s", "xyz://h", "camera:0", "/dev/video0", "test:", "test-live:*5")),
        *((where, False) for where in ("a.mp4", "*.png", "tests", "camera", "C:/a.mp4")),
    ],
)
def test_streams_are_neither_files_nor_patterns(where, answer):
    assert is_stream(where) is answer
