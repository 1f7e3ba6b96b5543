"""Videos: times, colours, sound, and what is left when something goes wrong; read back with PyAV and OpenCV."""

import os
import resource
import signal
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import processes
from fcnrt.errors import FrameError, MediaError, MissingDependency
from fcnrt.pictures.palette import generated_palette
from fcnrt.video.sinks import av_encoders, av_writer
from fcnrt.video.sinks.av_audio import AudioCopy
from fcnrt.video.sinks.av_writer import VideoWriter
from fcnrt.video.sinks.torn_files import playable_frames, read_head
from frames import blocks
from places import HELPERS

av = pytest.importorskip("av")
cv2 = pytest.importorskip("cv2")

SIZE = (48, 64)
RNG = np.random.default_rng(11)
SUFFIXES = ("mp4", "mov", "mkv")


@pytest.fixture(autouse=True)
def errors_for_full_disks():
    """Triton's compiler, which other tests load, makes the end of the process of a limit on file sizes."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGXFSZ, before)


def _ramp(height, width, frames=5):
    """Smooth frames, which a lossy codec keeps nearly as they are; each one brighter than the last."""
    slope = np.linspace(0, 90, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return [np.clip(slope + np.array((20 * index, 10, 60)), 0, 255).astype(np.uint8) for index in range(frames)]


def _write(path, frames, times=None, rate=12.5, **options):
    with VideoWriter(path, rate, frames[0].shape[:2], **options) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, None if times is None else times[index])
    return writer


def _read(path):
    """Frames as PyAV decodes them, and their times in seconds."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in decoded], [
            frame.pts * frame.time_base for frame in decoded
        ]


def _read_by_opencv(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    capture.release()
    return frames


def _stream(path, what):
    with av.open(str(path)) as container:
        return what(container.streams.video[0])


def _boxes(path):
    """Kinds of the boxes of an MP4 file, in order."""
    data, position, kinds = path.read_bytes(), 0, []
    while position < len(data):
        kinds.append(data[position + 4 : position + 8].decode())
        position += int.from_bytes(data[position : position + 4], "big")
    return kinds


def _files(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- frames and colours


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [SIZE, (37, 23), (2, 2), (1, 1), (101, 64)])
def test_a_video_comes_back(tmp_path, capfd, suffix, size):
    path, frames = tmp_path / f"v.{suffix}", _ramp(*size)
    _write(path, frames)
    back, times = _read(path)
    even = tuple(side + side % 2 for side in size)
    assert _stream(path, lambda video: (video.codec_context.name, video.height, video.width)) == ("h264", *even)
    assert times == [Fraction(2 * index, 25) for index in range(5)] and _files(tmp_path) == [path.name]
    for frame, original in zip(back, frames, strict=True):
        # Lossy, but in order, and red is not blue: the frames are 20 levels apart in red only.
        assert np.abs(frame[: size[0], : size[1]].astype(int) - original).mean() < 3
    assert capfd.readouterr() == ("", "")


def test_an_odd_side_grows_by_its_last_row_and_column(tmp_path):
    _write(tmp_path / "v.mp4", _ramp(37, 23))
    frame = _read(tmp_path / "v.mp4")[0][0].astype(int)
    assert np.abs(frame[-1] - frame[-2]).max() <= 3 and np.abs(frame[:, -1] - frame[:, -2]).max() <= 3


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(37, 23), (16, 16), (1, 1)])
def test_exact_means_every_colour_and_every_size(tmp_path, suffix, size):
    path, palette = tmp_path / f"v.{suffix}", generated_palette(256)
    frames = [palette[RNG.integers(0, 256, size)] for _ in range(4)]
    _write(path, frames, exact=True)
    np.testing.assert_array_equal(_read(path)[0], frames)
    np.testing.assert_array_equal(_read_by_opencv(path), frames)


def test_exact_takes_views_that_are_not_contiguous(tmp_path):
    frames = RNG.integers(0, 256, (3, 37, 46, 3), dtype=np.uint8)
    _write(tmp_path / "v.mkv", [frame[::-1, ::2, ::-1] for frame in frames], exact=True)
    np.testing.assert_array_equal(_read(tmp_path / "v.mkv")[0], frames[:, ::-1, ::2, ::-1])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(96, 864), (722, 1280)])
def test_colours_are_bt709_and_say_so(tmp_path, suffix, size):
    colours = np.array([(r, g, b) for r in (0, 128, 255) for g in (0, 90, 255) for b in (0, 200, 255)], np.uint8)
    stripes = np.linspace(0, len(colours), size[1], endpoint=False).astype(int)
    _write(tmp_path / f"v.{suffix}", [np.broadcast_to(colours[stripes], (*size, 3))] * 2)
    middles = [int(np.mean(np.flatnonzero(stripes == index))) for index in range(len(colours))]
    for frames in (_read(tmp_path / f"v.{suffix}")[0], _read_by_opencv(tmp_path / f"v.{suffix}")):
        assert np.abs(frames[1][size[0] // 2, middles].astype(int) - colours).max() <= 4
    tags = "colorspace", "color_range", "color_primaries", "color_trc"
    assert _stream(tmp_path / f"v.{suffix}", lambda video: [getattr(video, tag) for tag in tags]) == [1, 1, 1, 1]


def test_a_frame_may_be_changed_once_it_is_written(tmp_path):
    frame = np.empty((*SIZE, 3), np.uint8)
    with VideoWriter(tmp_path / "v.mp4", 25, SIZE, exact=True) as writer:
        for level in range(9):
            frame[:] = level
            writer.write(frame, Fraction(70 * level))  # and written again, as it was, a minute later
    assert [int(each[0, 0, 0]) for each in _read(tmp_path / "v.mp4")[0]] == [*np.repeat(range(8), 2), 8]


@pytest.mark.parametrize("other", [(96, 64), (24, 32), (20, 64), (12, 80), (49, 65)])
def test_frames_of_another_size_are_fitted_on_black(tmp_path, other):
    green = np.full((*other, 3), (20, 200, 40), np.uint8)
    _write(tmp_path / "v.mp4", [_ramp(*SIZE)[0], green])
    first, second = (frame.astype(int) for frame in _read(tmp_path / "v.mp4")[0])
    assert np.abs(first - _ramp(*SIZE)[0]).mean() < 3
    scale = min(SIZE[0] / other[0], SIZE[1] / other[1])
    height, width = (max(1, round(side * scale)) for side in other)
    top, left = (SIZE[0] - height) // 2, (SIZE[1] - width) // 2
    shown = np.zeros(SIZE, bool)
    shown[top : top + height, left : left + width] = True
    assert np.abs(np.median(second[shown], axis=0) - green[0, 0]).max() < 12
    assert shown.all() or np.median(second[~shown]) < 6


def test_exact_fits_without_inventing_colours(tmp_path):
    checks = np.where(np.indices((31, 45)).sum(axis=0)[..., None] % 2, (250, 10, 60), (3, 90, 200)).astype(np.uint8)
    _write(tmp_path / "v.mp4", [_ramp(*SIZE)[0], checks], exact=True)
    colours = np.unique(_read(tmp_path / "v.mp4")[0][1].reshape(-1, 3), axis=0)
    assert sorted(map(tuple, colours.tolist())) == [(0, 0, 0), (3, 90, 200), (250, 10, 60)]


# ---- times


@pytest.mark.parametrize("clock", [90_000, 1000, 12_288, 12_800, 15_360, 24_000, 30_000, 60_000, 600])
def test_variable_times_are_kept_exactly(tmp_path, clock):
    steps = RNG.integers(1, clock // 4, 12)
    times = [Fraction(int(ticks), clock) for ticks in np.cumsum([0, *steps])]
    frames = [_ramp(*SIZE)[0]] * len(times)
    _write(tmp_path / "v.mp4", frames, times)
    assert _read(tmp_path / "v.mp4")[1] == times
    _write(tmp_path / "v.mkv", frames, times)
    for got, wanted in zip(_read(tmp_path / "v.mkv")[1], times, strict=True):
        assert abs(got - wanted) <= Fraction(1, 1000)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_times_that_do_not_rise_are_moved_on(tmp_path, suffix):
    times = [Fraction(-1), Fraction(0), Fraction(1, 5), Fraction(1, 10), Fraction(1, 5), Fraction(2, 5)]
    _write(tmp_path / f"v.{suffix}", _ramp(*SIZE, frames=6), times)
    back, got = _read(tmp_path / f"v.{suffix}")
    assert got == sorted(set(got)) and len(got) == 6
    wanted = [0, 0, Fraction(1, 5), Fraction(1, 5), Fraction(1, 5), Fraction(2, 5)]
    assert all(abs(a - b) <= Fraction(2, 1000) for a, b in zip(got, wanted, strict=True))
    reds = [frame[..., 0].mean() for frame in back]
    assert reds == sorted(reds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_first_frame_may_come_late_and_a_gap_be_long(tmp_path, suffix):
    times = [Fraction(1, 5), Fraction(200), Fraction(5001, 25)]
    _write(tmp_path / f"v.{suffix}", _ramp(*SIZE, frames=3), times)
    back, got = _read(tmp_path / f"v.{suffix}")
    held = [times[0] + 60 * minute for minute in (1, 2, 3)]
    assert got == [times[0], *held, *times[1:]]
    assert np.abs(back[3].astype(int) - back[0]).mean() < 2 < np.abs(back[4].astype(int) - back[0]).mean()


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), 12.5, 60, 1, Fraction(1, 100), 1e6])
def test_without_times_the_rate_counts(tmp_path, rate):
    _write(tmp_path / "v.mp4", [_ramp(*SIZE)[0]] * 4, rate=rate)
    got = _read(tmp_path / "v.mp4")[1]
    wanted = [index / Fraction(rate) for index in range(4)]
    assert all(any(abs(a - b) < Fraction(1, 20_000_000) for a in got) for b in wanted)
    if 1 <= rate <= 1000:
        assert _stream(tmp_path / "v.mp4", lambda video: video.average_rate) == rate
        assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(float(rate))


def test_a_finished_file_is_an_ordinary_one(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4", 25, SIZE)
    for frame in blocks(*SIZE, 90):
        writer.write(frame)
    assert _boxes(writer._part).count("moof") >= 2
    writer.close()
    assert sorted(_boxes(tmp_path / "v.mp4")) == ["free", "ftyp", "mdat", "moov"]


# ---- whole files


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_video_is_playable(tmp_path, interruption):
    with pytest.raises(interruption), VideoWriter(tmp_path / "v.mp4", 25, SIZE) as writer:
        for frame in _ramp(*SIZE)[:3]:
            writer.write(frame)
        assert not (tmp_path / "v.mp4").exists()
        raise interruption
    assert len(_read(tmp_path / "v.mp4")[0]) == 3 and _files(tmp_path) == ["v.mp4"]


def test_ctrl_c_at_any_moment_loses_no_frame(tmp_path):
    done = processes.run(HELPERS / "interrupted_writing.py", tmp_path, *map(str, SIZE), folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_it_is_finished_leaves_a_whole_file(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    writer = VideoWriter(tmp_path / "v.mp4", 25, SIZE)
    for frame in blocks(*SIZE, 60):
        writer.write(frame)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer, "_finish", interrupt)
        writer.close()
    assert len(_read(tmp_path / "v.mp4")[0]) >= 30 and _files(tmp_path) == ["v.mp4"]


def test_no_frame_no_file(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"old")
    with VideoWriter(tmp_path / "v.mp4", 25, SIZE):
        pass
    assert (tmp_path / "v.mp4").read_bytes() == b"old" and _files(tmp_path) == ["v.mp4"]


def test_closing_twice_and_writing_after(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4", 25, SIZE)
    writer.write(_ramp(*SIZE)[0])
    writer.close()
    writer.close()
    with pytest.raises(MediaError, match="the video is closed"):
        writer.write(_ramp(*SIZE)[0])


def test_a_video_that_cannot_be_put_in_place_leaves_nothing(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4", 25, SIZE)
    writer.write(_ramp(*SIZE)[0])
    writer._part.unlink()
    with pytest.raises(MediaError, match=r"v\.mp4: cannot put this video in place: No such file"):
        writer.close()
    assert _files(tmp_path) == []


def test_a_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    _write(tmp_path / "v.mp4", _ramp(*SIZE))
    assert (tmp_path / "v.mp4").stat().st_mode == (tmp_path / "plain").stat().st_mode


def _write_until_full(path, audio_from=None):
    """Write until an error comes; its text."""
    with pytest.raises(MediaError) as caught:
        writer = VideoWriter(path, 25, (96, 128), audio_from=audio_from)
        try:
            for frame in blocks(96, 128, 80):
                writer.write(frame)
        finally:
            writer.close()
    return str(caught.value)


def _check_what_is_left(path, text, reason):
    left = _files(path.parent)
    assert "\n" not in text and text.startswith(f"{path}: ") and reason in text
    if left:
        frames, _ = _read(path)
        assert path.suffix == ".mkv" or _boxes(path)[-1] in ("mdat", "moov")
        assert left == [path.name] and f"the {len(frames)} frames written until then are in it" in text
        assert len(_read_by_opencv(path)) == len(frames)
    else:
        assert "nothing of it could be kept" in text or "cannot write a video here" in text
    return len(frames) if left else 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_a_playable_file_or_none(tmp_path, suffix):
    whole = tmp_path / f"whole.{suffix}"
    _write(whole, blocks(96, 128, 80), rate=25)
    bytes_needed, path = whole.stat().st_size, tmp_path / "full" / f"v.{suffix}"
    path.parent.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = []
    for share in (0, 0.01, 0.3, 0.6, 0.9, 0.97, 1 - 1 / bytes_needed):
        path.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * bytes_needed), hard))
        try:
            text = _write_until_full(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        kept.append(_check_what_is_left(path, text, "File too large"))
    assert kept == sorted(kept) and kept[0] == 0 and kept[3] >= 20 and kept[-1] >= 75


def test_a_head_that_was_changed_before_the_end_failed_is_put_back(tmp_path):
    """As FFmpeg 8.0 leaves it: the head says that the file is an ordinary one, and the index is missing."""
    writer = VideoWriter(tmp_path / "v.mp4", 25, SIZE)
    for frame in blocks(*SIZE, 90):
        writer.write(frame)
    torn = tmp_path / "torn.mp4"
    whole, head = writer._part.read_bytes(), read_head(writer._part)
    torn.write_bytes(whole[:36] + b"\0\xff\xff\xffmdat" + whole[44:-100])
    assert playable_frames(av, torn, b"") == 0
    torn.write_bytes(whole[:36] + b"\0\xff\xff\xffmdat" + whole[44:-100])
    frames = playable_frames(av, torn, head)
    assert frames >= 25 and len(_read(torn)[0]) == frames and _boxes(torn)[-1] == "mdat"
    writer.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_really_full(tmp_path, suffix):
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    try:
        text = _write_until_full(place / f"v.{suffix}")
        assert _check_what_is_left(place / f"v.{suffix}", text, "no space left on the disk") >= 20
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_killed_process_leaves_is_playable(tmp_path, suffix):
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "import numpy as np\n"
        "from fcnrt.video.sinks.av_writer import VideoWriter\n"
        "writer, frame = VideoWriter(sys.argv[1], 25, (48, 64)), np.zeros((48, 64, 3), np.uint8)\n"
        "for index in range(10**9):\n"
        "    frame[:] = index % 200\n"
        "    writer.write(frame)\n"
        "    if index == 110: print(flush=True) or time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / f"v.{suffix}"), *sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".fcnrt-") and left.suffix == f".{suffix}"
    with av.open(str(left)) as container:
        levels = [int(frame.to_ndarray(format="rgb24").mean().round()) for frame in container.decode(video=0)]
    # A second in the muxer and what the encoder looks ahead are lost.
    assert 60 <= len(levels) <= 111
    assert np.abs(np.array(levels) - np.arange(len(levels))).max() <= 3


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("v.avi", 25, SIZE), r"expected a name that ends in \.mp4 \.mov \.mkv"),
        (("v.mp4", 0, SIZE), "expected rate and size above 0, got rate 0"),
        (("v.mp4", float("nan"), SIZE), "got rate nan"),
        (("v.mp4", float("inf"), SIZE), "got rate inf"),
        (("v.mp4", 25, (0, 64)), r"size \(0, 64\)"),
        (("none/v.mp4", 25, SIZE), "cannot write a video here: No such file or directory"),
        (("none/v.mkv", 25, SIZE), "cannot write a video here: No such file or directory"),
        (("folder.mp4", 25, SIZE), "expected a name for a file, got that of a folder"),
        (
            ("v.mp4", 25, (70_000, 70_000)),
            r"cannot encode a video of size \(70000, 70000\) with this FFmpeg: tried libx",
        ),
    ],
)
def test_refused_arguments(tmp_path, capfd, arguments, expected):
    (tmp_path / "folder.mp4").mkdir()
    name, rate, size = arguments
    with pytest.raises(MediaError, match=expected) as caught:
        VideoWriter(tmp_path / name, rate, size)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)
    assert _files(tmp_path) == ["folder.mp4"] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("frame", [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3)), np.zeros((0, 64, 3), np.uint8)])
def test_refused_frames(tmp_path, frame):
    with VideoWriter(tmp_path / "v.mp4", 25, SIZE) as writer:
        writer.write(_ramp(*SIZE)[0])
        with pytest.raises(FrameError, match=r"frame: expected uint8 \(H, W, 3\), got"):
            writer.write(frame)
    assert len(_read(tmp_path / "v.mp4")[0]) == 1


def test_another_encoder_steps_in(tmp_path, monkeypatch):
    there = [encoder for encoder in av_encoders.ENCODERS if encoder.name == "mpeg4"]
    missing = av_encoders.Encoder("libnone", {})
    monkeypatch.setattr(av_writer, "ENCODERS", (missing, *there))
    frames = _ramp(*SIZE, frames=12)
    _write(tmp_path / "v.mp4", frames, [Fraction(index * index, 25) for index in range(12)])
    back, times = _read(tmp_path / "v.mp4")
    assert _stream(tmp_path / "v.mp4", lambda video: video.codec_context.name) == "mpeg4"
    assert times == [Fraction(index * index, 25) for index in range(12)]
    assert all(np.abs(a.astype(int) - b).mean() < 4 for a, b in zip(back, frames, strict=True))
    monkeypatch.setattr(av_writer, "ENCODERS", (missing,))
    with pytest.raises(MediaError, match=r"v\.mp4: cannot encode a video of size .* tried libnone \("):
        VideoWriter(tmp_path / "v.mp4", 25, SIZE)


def test_the_missing_package_is_named_with_its_remedy(tmp_path, hide_package):
    hide_package("av")
    with pytest.raises(MissingDependency, match=r"PyAV .*.* -m pip install .*\[video\]"):
        VideoWriter(tmp_path / "v.mp4", 25, SIZE)


# ---- audio

SOUND_RATE = 48_000
CLICKS_S = (0.5, 1.5, 2.5)


def _heard(path, codec="aac", video_start=Fraction(0), audio_start=Fraction(0), container=None, sound=True):
    """A clip of three seconds with clicks at CLICKS_S after its first frame."""
    with av.open(str(path), "w", format=container) as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
        video.height, video.width = SIZE
        stream = output.add_stream(codec, rate=SOUND_RATE, layout="mono") if sound else None
        frames = [
            (video_start + Fraction(index, 25), video, frame) for index, frame in enumerate([_ramp(*SIZE)[0]] * 75)
        ]
        frames += _sound(stream, video_start, audio_start) if sound else []
        for start, track, frame in sorted(frames, key=lambda item: item[0]):
            if track is video:
                frame = av.VideoFrame.from_ndarray(frame)
                frame.pts, frame.time_base = round(start * 25), Fraction(1, 25)
            output.mux(track.encode(frame))
        for track in (video, stream) if sound else (video,):
            output.mux(track.encode(None))
    return path


def _sound(stream, video_start, audio_start):
    samples = np.zeros(3 * SOUND_RATE)
    for click in CLICKS_S:
        first = round(float(click + video_start - audio_start) * SOUND_RATE)
        if 0 <= first < len(samples):
            samples[first : first + 480] = 0.9 * np.sin(2 * np.pi * 3000 / SOUND_RATE * np.arange(480))
    form = stream.codec_context.format.name
    whole = (samples * 32767).astype(np.int16) if "s16" in form else samples.astype(np.float32)
    for first in range(0, len(whole), 960):
        frame = av.AudioFrame.from_ndarray(whole[None, first : first + 960], format=form, layout="mono")
        frame.sample_rate, frame.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
        frame.pts = round(audio_start * SOUND_RATE) + first
        yield Fraction(frame.pts, SOUND_RATE), stream, frame


def _clicks(path):
    """When clicks begin after the first frame, and when the sound ends, in seconds."""
    start = float(_read(path)[1][0])
    with av.open(str(path)) as container:
        frames = [(float(frame.pts * frame.time_base), frame.to_ndarray()[0]) for frame in container.decode(audio=0)]
    times = np.concatenate([first + np.arange(len(samples)) / SOUND_RATE for first, samples in frames]) - start
    loud = np.abs(np.concatenate([samples for _, samples in frames]).astype(float))
    loud = times[loud > 0.35 * loud.max()]
    return [float(at) for at in loud[np.diff(loud, prepend=-9.0) > 0.3]], float(times[-1])


def _packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def _dub(path, source, frames=75):
    writer = VideoWriter(path, 25, SIZE, audio_from=source)
    with writer:
        for frame in [_ramp(*SIZE)[1]] * frames:
            writer.write(frame)
    return writer


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("name", "codec", "video_start", "audio_start"),
    [
        ("a.mp4", "aac", 0, 0),
        ("a.mp4", "aac", Fraction(1, 5), 0),
        ("a.mp4", "aac", 0, Fraction(3, 10)),
        ("a.mkv", "aac", Fraction(1, 5), 0),
        ("a.ts", "aac", 0, 0),
        ("a.ts", "aac", Fraction(6, 5), 0),
        ("a.mov", "pcm_s16le", Fraction(1, 5), 0),
    ],
)
def test_audio_keeps_its_place_beside_the_video(tmp_path, suffix, name, codec, video_start, audio_start):
    source = _heard(tmp_path / name, codec, Fraction(video_start), Fraction(audio_start))
    wanted, _ = _clicks(source)
    assert len(wanted) >= 2 and abs(wanted[0] - CLICKS_S[0]) < 0.025  # MP4's demuxer may drop a frame of the start
    writer = _dub(tmp_path / f"v.{suffix}", source)
    assert writer.notes == [] and _read(tmp_path / f"v.{suffix}")[1] == [Fraction(index, 25) for index in range(75)]
    got, _ = _clicks(tmp_path / f"v.{suffix}")
    np.testing.assert_allclose(got, wanted, atol=0.002)
    if suffix == "mkv":  # which has no edit lists
        with av.open(str(tmp_path / "v.mkv")) as container:
            assert min(packet.pts for packet in container.demux(audio=0) if packet.size) >= 0


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "flac"), ("a.mov", "pcm_s16le")])
def test_audio_is_copied_as_it_is(tmp_path, name, codec):
    source = _heard(tmp_path / name, codec)
    _dub(tmp_path / "v.mp4", source)
    packets, copied = _packets(source), _packets(tmp_path / "v.mp4")
    assert len(copied) > 20 and b"".join(packets).startswith(b"".join(copied))


def test_audio_ends_with_the_video(tmp_path):
    _dub(tmp_path / "v.mp4", _heard(tmp_path / "a.mp4"), frames=30)
    clicks, end = _clicks(tmp_path / "v.mp4")
    np.testing.assert_allclose(clicks, [0.5], atol=0.002)
    assert 1.2 <= end < 1.23


def test_audio_that_the_container_cannot_hold_is_noted(tmp_path):
    writer = _dub(tmp_path / "v.mov", _heard(tmp_path / "a.mkv", "flac"))
    assert writer.notes == [f"{tmp_path / 'v.mov'}: no audio, .mov cannot take flac; .mkv may"]
    assert len(_read(tmp_path / "v.mov")[0]) == 75 and _files(tmp_path) == ["a.mkv", "v.mov"]


def test_audio_that_cannot_be_read_is_noted(tmp_path):
    writer = _dub(tmp_path / "v.mp4", tmp_path / "none.mp4", frames=3)
    (note,) = writer.notes
    assert note.startswith(f"{tmp_path / 'v.mp4'}: no audio: {tmp_path / 'none.mp4'}: ") and "\n" not in note
    assert len(_read(tmp_path / "v.mp4")[0]) == 3


def test_a_silent_source_is_nothing_to_note(tmp_path):
    writer = _dub(tmp_path / "v.mp4", _heard(tmp_path / "a.mp4", sound=False), frames=3)
    assert writer.notes == [] and len(_read(tmp_path / "v.mp4")[0]) == 3


def test_audio_that_breaks_off_is_noted_and_leaves_the_video_alone(tmp_path, monkeypatch):
    unpacked = AudioCopy._unpacked

    def broken(self, packets):
        for count, packet in enumerate(unpacked(self, packets)):
            if count == 20:
                raise av.error.InvalidDataError(1094995529, "Invalid data found when processing input")
            yield packet

    monkeypatch.setattr(AudioCopy, "_unpacked", broken)
    writer = _dub(tmp_path / "v.mp4", _heard(tmp_path / "a.mp4"))
    assert writer.notes == [f"{tmp_path / 'v.mp4'}: the audio ends too early: Invalid data found when processing input"]
    assert len(_packets(tmp_path / "v.mp4")) == 20 and len(_read(tmp_path / "v.mp4")[0]) == 75


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_full_disk_with_audio(tmp_path, suffix):
    source, path = _heard(tmp_path / "a.mov", "pcm_s16le"), tmp_path / "full" / f"v.{suffix}"
    path.parent.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        text = _write_until_full(path, source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _check_what_is_left(path, text, "File too large") >= 20
    assert os.path.getsize(path) <= 200_000
