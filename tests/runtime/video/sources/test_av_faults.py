"""Damaged, cut off, foreign and missing files, through PyAV."""

from __future__ import annotations

import itertools
import os
import random
from fractions import Fraction

import pytest

from fcnrt.errors import MediaError, MissingDependency
from fcnrt.video import av_container
from fcnrt.video.sources.av_reader import AvReader

av = pytest.importorskip("av")
from clips import clip, drained, numbers, sound  # noqa: E402

CLIPS = {
    "plain.mp4": {},
    "fast.mp4": {"container_options": {"movflags": "faststart"}, "b_frames": 2},
    "sound.mp4": {"container_options": {"movflags": "faststart"}, "audio_s": 3},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "a.mkv": {},
    "sound.mkv": {"audio_s": 1.6},
    "lossless.mkv": {"codec": "ffv1"},
    "a.webm": {"codec": "vp9"},
    "a.avi": {"codec": "mpeg4"},
    "pictures.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "a.flv": {},
    "a.ts": {},
    "hevc.mkv": {"codec": "hevc"},
    "hevc.ts": {"codec": "hevc"},
    "a.mpg": {"codec": "mpeg2video"},
}
# Without a length in their headers; and fragments, whose header is written before the length is known.
CLAIMLESS = ("a.ts", "hevc.ts", "a.mpg", "fragments.mp4")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {name: clip(folder / name, **options) for name, options in CLIPS.items()}


def _read(path):
    """The frames of a file, and the error behind them or None; whatever else is raised fails the test."""
    try:
        with AvReader(path) as source:
            return drained(source)
    except MediaError as error:
        return [], error


def _check_promises(frames):
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert all(later.time >= frame.time for frame, later in itertools.pairwise(frames))


@pytest.mark.parametrize("name", CLIPS)
def test_wherever_a_file_is_cut_off(tmp_path, capfd, clips, name):
    whole, cut = clips[name].read_bytes(), tmp_path / name
    ends = {len(whole) * index // 24 for index in range(24)} | {len(whole) - lost for lost in (1, 2, 9, 100, 700)}
    outcomes = set()
    for end in sorted(ends):
        cut.write_bytes(whole[:end])
        frames, error = _read(cut)
        _check_promises(frames)
        if error is not None:
            assert str(error).startswith(f"{cut}: ") and "\n" not in str(error)
        else:
            assert len(frames) == 40 or name in CLAIMLESS
        outcomes.add("open" if not frames else "late" if error else "quiet")
    assert "open" in outcomes and (name == "plain.mp4" or len(outcomes) > 1)
    assert capfd.readouterr() == ("", "")


def test_what_is_said_of_a_file_that_was_cut_off(tmp_path, clips):
    whole, path = clips["fast.mp4"].read_bytes(), tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    frames, error = _read(path)
    assert 20 < len(frames) < 40 and numbers(frames) == list(range(len(frames)))
    text = f"{path}: ends early, after {len(frames)} of about 40 frames; the file is cut off or damaged"
    assert str(error) == text


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("flips", [1, 5, 100])
def test_flipped_bits(tmp_path, capfd, clips, name, flips):
    whole, path, survived = clips[name].read_bytes(), tmp_path / name, 0
    for seed in range(6):
        chance, damaged = random.Random(seed), bytearray(whole)
        for _ in range(flips):
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        frames, error = _read(path)
        _check_promises(frames)
        survived += bool(frames)
        assert error is None or "\n" not in str(error)
    assert survived or flips == 100
    assert capfd.readouterr() == ("", "")


def test_damaged_packets_are_passed_over_and_counted(tmp_path):
    path = clip(tmp_path / "a.avi", codec="mjpeg", pixel_format="yuvj420p")
    damaged = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    for packet in packets[10:20]:
        start = damaged.index(bytes(packet))
        damaged[start : start + packet.size] = bytes(packet.size)
    path.write_bytes(damaged)
    with AvReader(path) as source:
        frames = list(source)
    assert numbers(frames) == [*range(10), *range(20, 40)]
    assert source.faults == {"corrupt packets": 10}
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in (*range(10), *range(20, 40))]


def test_frames_that_the_decoder_doubts_come_and_are_counted(tmp_path):
    path = clip(tmp_path / "a.mkv", gop=40)
    damaged = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux() if packet.size][20]
    middle = damaged.index(bytes(packet)) + packet.size // 2
    damaged[middle : middle + 20] = b"\xff" * 20
    path.write_bytes(damaged)
    with AvReader(path) as source:
        assert len(list(source)) == 40
    assert source.faults["damaged frames"] >= 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "expected a video file, got a folder"),
        (lambda path: path.touch(), "expected a video file, got an empty one"),
        (
            lambda path: path.write_text("no video at all\n" * 40),
            r"cannot open: expected a whole video .*\(Invalid data",
        ),
        (lambda path: path.write_bytes(bytes(5000)), "cannot open: expected a whole video in a known format"),
        (lambda path: sound(path), "expected a video that can be decoded, found no video in it"),
        (lambda path: _unknown_codec(path), "expected a video that can be decoded, found one in an unknown codec"),
        (lambda path: _index_alone(path), "cannot decode a single frame; expected a whole, readable video file"),
        (lambda path: _damaged_frames(path), "cannot decode a single frame; expected a whole, readable video file"),
    ],
)
def test_no_video(tmp_path, capfd, make, expected):
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(MediaError, match=expected) as caught:
        AvReader(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def _unknown_codec(path):
    clip(path, frames=2)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))


def _index_alone(path):
    clip(path, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"mdat") + 4])


def _damaged_frames(path):
    clip(path, codec="mjpeg", pixel_format="yuvj420p", frames=3)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)


def test_a_cover_alone_is_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 20, 30, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(20, 30, "rgb24")))
        container.mux(cover.encode(None))
    with pytest.raises(MediaError, match="found a cover picture only"):
        AvReader(path)


def test_no_permission(tmp_path, monkeypatch):
    path = clip(tmp_path / "a.mp4", frames=2)
    path.chmod(0)
    if os.geteuid() == 0:  # who may read everything

        def refused(*_, **__):
            raise av.error.PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(av_container.pyav(), "open", refused)
    with pytest.raises(MediaError, match=r"a\.mp4: cannot open: Permission denied"):
        AvReader(path)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile secret.ts\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "1\n00:00:00,000 --> 00:00:01,000\nsubtitle\n\n" * 9,
        "\x1b[2J\x1b[31mtext art\n" * 99,
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.txt", "a.sdp"])
def test_a_file_cannot_have_others_opened(tmp_path, name, text):
    clip(tmp_path / "secret.ts")
    path = tmp_path / name
    path.write_text(text)
    in_a_session = "expected a video that can be decoded, found (no video in it|one in an unknown codec)"
    elsewhere = "cannot open: expected a whole video in a known format"
    with pytest.raises(MediaError, match=in_a_session if name == "a.sdp" else elsewhere):
        AvReader(path)


def test_without_our_list_ffmpeg_would_open_them(tmp_path):
    clip(tmp_path / "secret.ts", frames=3)
    path = tmp_path / "a.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.ts\n")
    assert numbers(AvReader(path, options={"format_whitelist": "concat,mpegts"})) == [0, 1, 2]


class _Failing:
    """A container that reads ten packets; `error` is raised then, once or every time."""

    def __init__(self, container, error, often):
        self._container, self._error, self._often, self._read = container, error, often, 0
        self._packets = container.demux()

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self):
        while self._read != 10 or not self._often:
            packet = next(self._packets, None)
            if packet is None:
                return
            self._read += 1
            yield packet
        self._often -= 1
        raise self._error


def _failing(monkeypatch, path, error, often=1):
    monkeypatch.setattr(
        "fcnrt.video.sources.av_reader.open_container", lambda *arguments: _Failing(av.open(str(path)), error, often)
    )
    return AvReader(path)


def test_a_read_that_fails_gives_what_came_before(tmp_path, monkeypatch):
    path = clip(tmp_path / "a.mp4", b_frames=2)
    with _failing(monkeypatch, path, av.error.OSError(5, "Input/output error")) as source:
        frames, error = drained(source)
    assert numbers(frames) == list(range(10))
    assert str(error) == f"{path}: cannot read on: Input/output error"
    assert list(source) == []


@pytest.mark.parametrize(("often", "expected"), [(1, 40), (7, 40), (8, 10), (99, 10)])
def test_damage_that_the_demuxer_tells_is_passed_over_for_a_while(tmp_path, monkeypatch, often, expected):
    path = clip(tmp_path / "a.mkv")
    with _failing(monkeypatch, path, av.error.InvalidDataError(1, "Invalid data"), often) as source:
        frames, error = drained(source)
    assert source.faults == {"corrupt packets": min(often, 8)}
    assert len(frames) == expected and (error is None) == (often < 8)


def test_a_stream_that_came_up_on_the_way_does_not_cost_the_last_frames(tmp_path, monkeypatch):
    """PyAV raises IndexError at the end of such a file, where it would empty the decoder."""
    path = clip(tmp_path / "a.ts", b_frames=2)
    with _failing(monkeypatch, path, IndexError("list index out of range")) as source:
        frames, error = drained(source)
    assert numbers(frames) == list(range(10)) and error is None


def test_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingDependency, match=r"PyAV is needed for this: .* -m pip install .*\[video\]"):
        AvReader(tmp_path / "a.mp4")
