"""Decoding with PyAV: codecs, containers, times, colours, orientation."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fcnrt.ops.reference import nv12_to_rgb
from fcnrt.video.sources.av_reader import AvReader
from fcnrt.video.sources.generated import Generated

av = pytest.importorskip("av")
from clips import RATE, SIZE, clip, numbers  # noqa: E402

LIMITED, FULL = 1, 2  # AVCOL_RANGE
BT709, BT601_PAL, BT601_NTSC = 1, 5, 6  # AVCOL_SPC


@pytest.mark.parametrize(
    ("codec", "containers"),
    [
        ("h264", "mp4 mkv mov avi ts flv"),
        ("hevc", "mp4 mkv ts"),
        ("vp9", "webm mkv mp4"),
        ("mpeg4", "avi mp4"),
        ("mjpeg", "avi mov"),
        ("ffv1", "mkv avi"),
        ("mpeg2video", "ts mpg"),
    ],
)
def test_codecs_and_containers(tmp_path, capfd, codec, containers):
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    for container in containers.split():
        path = clip(tmp_path / f"a.{container}", codec=codec, pixel_format=pixel_format)
        with AvReader(path) as source:
            frames = list(source)
        assert numbers(frames) == [frame.number for frame in frames] == list(range(40)), container
        assert [frame.time for frame in frames] == [index / RATE for index in range(40)], container
        assert (source.name, source.size, source.rate, source.live) == (str(path), SIZE, RATE, False)
        assert source.color == "rgb" and not source.faults and 38 <= source.frame_count <= 40
        assert all(frame.pixels.shape == (*SIZE, 3) and frame.pixels.dtype == np.uint8 for frame in frames)
        assert all(frame.pixels.flags.c_contiguous for frame in frames)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("container", ["h264", "mjpeg"])
def test_streams_without_times_go_by_their_rate(tmp_path, container):
    codec, pixel_format = ("mjpeg", "yuvj420p") if container == "mjpeg" else ("h264", "yuv420p")
    frames = list(AvReader(clip(tmp_path / f"a.{container}", codec=codec, pixel_format=pixel_format)))
    assert [frame.time for frame in frames] == [index / RATE for index in range(40)]


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_b_frames_come_in_order(tmp_path, container, b_frames):
    path = clip(tmp_path / f"a.{container}", b_frames=b_frames)
    with av.open(str(path)) as container:
        dts_is_pts = all(packet.pts == packet.dts for packet in container.demux() if packet.size)
    assert dts_is_pts == (b_frames == 0)
    assert numbers(AvReader(path)) == list(range(40))


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("first", ["0", "5"])
def test_a_variable_rate(tmp_path, container, b_frames, first):
    times = [Fraction(time) for time in ("0", "0.04", "0.1", "0.5", "0.52", "2", "2.04", "5")]
    shifted = [time + Fraction(first) for time in times]
    frames = list(AvReader(clip(tmp_path / f"a.{container}", times=shifted, b_frames=b_frames)))
    assert [frame.time for frame in frames] == times
    assert numbers(frames) == list(range(8))


@pytest.mark.parametrize(
    ("codec", "container", "pixel_format"),
    [
        ("h264", "mp4", "yuv444p"),
        ("mjpeg", "avi", "yuvj420p"),
        ("vp9", "webm", "yuv420p"),
        ("ffv1", "mkv", "yuv420p"),
        ("mpeg4", "mp4", "yuv420p"),
    ],
)
@pytest.mark.parametrize("size", [(97, 131), (98, 131), (97, 132), (8, 33)])
def test_odd_sizes(tmp_path, codec, container, pixel_format, size):
    path = clip(tmp_path / f"a.{container}", codec=codec, pixel_format=pixel_format, size=size, frames=5)
    with AvReader(path) as source:
        frames = list(source)
    assert source.size == size and {frame.pixels.shape for frame in frames} == {(*size, 3)}
    assert numbers(frames) == list(range(5))


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("rotation", [90, 180, 270, -90])
def test_rotated_clips_come_upright(tmp_path, container, rotation):
    codec = "ffv1" if container == "mkv" else "h264"
    as_stored = list(AvReader(clip(tmp_path / f"a.{container}", codec=codec, frames=3)))
    with AvReader(clip(tmp_path / f"b.{container}", codec=codec, frames=3, rotation=rotation)) as source:
        turned = list(source)
    assert source.size == (SIZE if rotation == 180 else SIZE[::-1])
    for frame, stored in zip(turned, as_stored, strict=True):
        np.testing.assert_array_equal(frame.pixels, np.rot90(stored.pixels, rotation // 90))
        assert frame.pixels.flags.c_contiguous


def test_mirrored_clips_come_upright(tmp_path):
    stored = next(iter(AvReader(clip(tmp_path / "a.mp4", frames=1)))).pixels
    mirrored = next(iter(AvReader(clip(tmp_path / "b.mp4", frames=1, mirrored=True)))).pixels
    np.testing.assert_array_equal(mirrored, stored[:, ::-1])
    both = next(iter(AvReader(clip(tmp_path / "c.mp4", frames=1, mirrored=True, rotation=90)))).pixels
    np.testing.assert_array_equal(both, np.rot90(stored)[:, ::-1])


def _flat(size, luma, u, v):
    """(H * 3 / 2, W), as a yuv420p frame lies in memory."""
    height, width = size
    planes = np.full(height * width, luma), np.full(height * width // 4, u), np.full(height * width // 4, v)
    return np.concatenate(planes).astype(np.uint8).reshape(-1, width)


@pytest.mark.parametrize(
    ("size", "colour", "matrix", "full"),
    [
        (SIZE, {}, "bt601", False),
        ((720, 1280), {}, "bt709", False),
        ((98, 1280), {}, "bt709", False),
        ((576, 720), {}, "bt601", False),
        (SIZE, {"colorspace": BT709, "color_range": LIMITED}, "bt709", False),
        ((720, 1280), {"colorspace": BT601_PAL}, "bt601", False),
        ((720, 1280), {"colorspace": BT601_NTSC}, "bt601", False),
        (SIZE, {"colorspace": BT709, "color_range": FULL}, "bt709", True),
        (SIZE, {"colorspace": BT601_NTSC, "color_range": FULL}, "bt601", True),
    ],
)
def test_colours_are_those_of_the_stream(tmp_path, size, colour, matrix, full):
    samples = 100, 90, 160
    path = clip(tmp_path / "a.mp4", size=size, times=[0, 0.04], colour=colour, pictures=[_flat(size, *samples)] * 2)
    luma, chroma = np.full((2, 2), samples[0], np.uint8), np.array([[samples[1:]]], np.uint8)
    expected = nv12_to_rgb(luma, chroma, matrix, full)[0, 0].astype(int)
    for frame in AvReader(path):
        # FFmpeg's fast conversion rounds down step by step; the matrices are 5 levels apart and more.
        assert abs(frame.pixels.astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    ("codec", "pixel_format", "tolerated"),
    [
        ("utvideo", "gbrp", 0),
        ("ffv1", "bgra", 0),
        ("ffv1", "rgb48le", 0),
        ("ffv1", "yuva420p", 3),
        ("ffv1", "gray", 60),
        ("h264", "yuv420p10le", 5),
        ("h264", "yuv422p", 5),
        ("mjpeg", "yuvj444p", 5),
        ("rawvideo", "yuyv422", 3),
    ],
)
def test_pixel_formats(tmp_path, codec, pixel_format, tolerated):
    container = "avi" if codec == "utvideo" else "mkv"
    path = clip(tmp_path / f"a.{container}", codec=codec, pixel_format=pixel_format, frames=2)
    frames, originals = list(AvReader(path)), Generated("test:{}x{}*2".format(*SIZE))
    for frame, original in zip(frames, originals, strict=True):
        assert abs(frame.pixels.astype(int) - original.pixels).mean() <= tolerated
    assert numbers(frames) == [0, 1]


def test_sound_beside_it(tmp_path):
    for container in ("mp4", "mkv", "ts"):
        path = clip(tmp_path / f"a.{container}", audio_s=3)
        with AvReader(path) as source:
            assert numbers(source) == list(range(40)), container


def _joined(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_size_and_pixel_format_may_change_on_the_way(tmp_path):
    one = clip(tmp_path / "a.ts", frames=20)
    other = clip(tmp_path / "b.ts", frames=20, size=(66, 98), pixel_format="yuv444p", first_number=20)
    with AvReader(_joined(tmp_path / "c.ts", one, other)) as source:
        frames = list(source)
    assert source.size == SIZE
    assert [frame.pixels.shape for frame in frames] == [(*SIZE, 3)] * 20 + [(66, 98, 3)] * 20
    assert numbers(frames) == list(range(40))
    # The second part's own times begin anew.
    assert [frame.time for frame in frames] == [index / RATE for index in range(40)]


def test_a_join_with_later_times_leaves_no_gap(tmp_path):
    one = clip(tmp_path / "a.ts", frames=5)
    other = clip(tmp_path / "b.ts", times=[1000 + index / RATE for index in range(5)], first_number=5)
    frames = list(AvReader(_joined(tmp_path / "c.ts", one, other)))
    assert [frame.time for frame in frames] == [index / RATE for index in range(10)]


def _remuxed(source: Path, path: Path, cut_s: Fraction, from_s: Fraction) -> Path:
    """What a lossless trim does: whole groups of pictures, and an edit list that hides what comes before the cut."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as part:
        stream = whole.streams.video[0]
        target = part.add_stream_from_template(stream)
        for packet in whole.demux(stream):
            if packet.dts is not None and packet.pts * packet.time_base >= from_s:
                packet.pts -= round(cut_s / packet.time_base)
                packet.dts -= round(cut_s / packet.time_base)
                packet.stream = target
                part.mux(packet)
    return path


def test_frames_that_an_edit_list_hides_do_not_come(tmp_path):
    whole = clip(tmp_path / "a.mp4", frames=100, gop=50)
    path = _remuxed(whole, tmp_path / "b.mp4", cut_s=70 / RATE, from_s=50 / RATE)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 50
    with AvReader(path) as source:
        frames = list(source)
    assert numbers(frames) == list(range(70, 100)) and source.frame_count == 30
    assert [frame.time for frame in frames] == [index / RATE for index in range(30)]


@pytest.mark.parametrize("name", ["name:rest.mp4", "http:a.mp4", "a b.mp4", "é%03d.mp4", "[x]*?.mp4", "-.mp4", "noend"])
def test_names_mean_nothing_but_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "clip.mp4", frames=2).rename(tmp_path / name)
    with AvReader(name) as source:
        assert source.name == name and numbers(source) == [0, 1]


def test_damaged_titles_do_not_matter(tmp_path):
    path = clip(tmp_path / "a.mkv", frames=2, title="a title")
    damaged = path.read_bytes().replace(b"a title", b"\xe9\xff\xe9\xe9\xe9\xe9\xe9")
    assert b"\xe9\xff" in damaged
    path.write_bytes(damaged)
    assert numbers(AvReader(path)) == [0, 1]


def test_a_cover_is_not_the_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(clip(tmp_path / "b.mp4", frames=2))) as source, av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 20, 30, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        moving = container.add_stream_from_template(source.streams.video[0])
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((30, 20, 3), np.uint8), format="rgb24")))
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = moving
                container.mux(packet)
    with AvReader(path) as reader:
        assert reader.size == SIZE and numbers(reader) == [0, 1]


def test_reading_goes_on_where_it_stopped(tmp_path):
    source = AvReader(clip(tmp_path / "a.mp4"))
    for frame in source:
        if frame.number == 4:
            break
    assert [frame.number for frame in source] == list(range(5, 40))
    assert list(source) == []
    source.close()
    source.close()


def test_nothing_comes_after_closing(tmp_path):
    source = AvReader(clip(tmp_path / "a.mp4"))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == [] and list(source) == []


def test_frames_are_the_readers_own(tmp_path):
    source = AvReader(clip(tmp_path / "a.mp4", frames=6))
    frames = [(frame.pixels, frame.pixels.copy()) for frame in source]
    source.close()
    for pixels, copy in frames:
        np.testing.assert_array_equal(pixels, copy)
