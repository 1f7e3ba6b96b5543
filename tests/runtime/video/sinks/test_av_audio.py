"""Audio of all kinds beside the video: codecs, several tracks, recordings joined end to end."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from fcnrt.video import OverlayVideo, open_source  # noqa: E402
from fcnrt.video.frames import Labelled  # noqa: E402
from fcnrt.video.sinks.av_writer import VideoWriter  # noqa: E402

RATE, SIZE = 48_000, (46, 64)
CLICKS_S = (0.5, 1.5)


def film(path: Path, codecs: Sequence[str], frames: int = 50, start: Fraction = Fraction(0)) -> Path:
    """A clip with clicks half a second and one and a half after its first frame, in a track for each codec."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1", "g": "10"})
        video.height, video.width = SIZE
        tracks = [output.add_stream(codec, rate=RATE, layout="mono") for codec in codecs]
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), 2 * index, np.uint8))
            picture.pts, picture.time_base = round((start + Fraction(index, 25)) * 90_000), Fraction(1, 90_000)
            output.mux(video.encode(picture))
            for track in tracks:
                output.mux(track.encode(_sound(track, index, start)))
        for track in (video, *tracks):
            output.mux(track.encode(None))
    return path


def _sound(track: object, index: int, start: Fraction) -> object:
    """A twenty-fifth of a second."""
    times = (np.arange(1920) + 1920 * index) / RATE
    loud = sum((click <= times) & (times < click + 0.02) for click in CLICKS_S)
    wave = 0.9 * loud * np.sin(2 * np.pi * 3000 * times)
    form = track.codec_context.format.name
    samples = (wave * 32767).astype(np.int16) if "s16" in form else wave.astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples[None], format=form, layout="mono")
    frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
    frame.pts = round(start * RATE) + 1920 * index
    return frame


def dub(path: Path, source: Path) -> VideoWriter:
    """The frames of a film written anew, with its audio."""
    with open_source(source) as frames, VideoWriter(path, 25, SIZE, audio_from=source) as writer:
        for frame in frames:
            writer.write(frame.pixels, frame.time)
    return writer


def clicks(path: Path) -> list[float]:
    """When clicks begin, in seconds after the first frame of video."""
    with av.open(str(path)) as container:
        start = min(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.size)
    with av.open(str(path)) as container:
        parts = [(float(frame.pts * frame.time_base), frame.to_ndarray()[0]) for frame in container.decode(audio=0)]
    times = np.concatenate([first + np.arange(len(samples)) / RATE for first, samples in parts]) - float(start)
    loud = np.abs(np.concatenate([samples for _, samples in parts]).astype(float))
    loud = times[loud > 0.3 * loud.max()]
    return [float(at) for at in loud[np.diff(loud, prepend=-9.0) > 0.3]]


def codecs_of(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.name for stream in container.streams.audio]


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_dolby_goes_into_every_container(tmp_path, codec, suffix):
    source = film(tmp_path / "a.mkv", [codec])
    writer = dub(tmp_path / f"v.{suffix}", source)
    assert writer.notes == [] and codecs_of(tmp_path / f"v.{suffix}") == [codec]
    np.testing.assert_allclose(clicks(tmp_path / f"v.{suffix}"), clicks(source), atol=0.002)


@pytest.mark.parametrize("codec", ["ac3", "eac3", "aac"])
def test_what_a_killed_process_leaves_can_be_played(tmp_path, codec):
    source, left = film(tmp_path / "a.mkv", [codec], frames=100), tmp_path / "left.mp4"
    (tmp_path / "out").mkdir()
    with open_source(source) as frames, VideoWriter(tmp_path / "out/v.mp4", 25, SIZE, audio_from=source) as writer:
        for frame in frames:
            writer.write(frame.pixels, frame.time)
            if frame.number == 98:
                shutil.copy(next((tmp_path / "out").glob(".fcnrt-*")), left)
    with av.open(str(left)) as container:
        kinds = [packet.stream.type for packet in container.demux() if packet.size]
    assert kinds.count("video") >= 40 and kinds.count("audio") >= 30


def test_an_unknown_codec_is_left_out_with_a_note(tmp_path):
    source = film(tmp_path / "a.mkv", ["aac"])
    source.write_bytes(source.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    writer = dub(tmp_path / "v.mp4", source)
    assert writer.notes == [f"{tmp_path / 'v.mp4'}: no audio, its codec is unknown"]
    assert codecs_of(tmp_path / "v.mp4") == []


@pytest.mark.parametrize(
    ("codecs", "suffix", "taken", "notes"),
    [
        (["aac", "ac3"], "mp4", "aac", []),
        (["flac", "aac"], "mov", "aac", [": no audio track 1, .mov cannot take flac; .mkv may"]),
        (["flac", "libopus", "ac3"], "mov", "ac3", [
            ": no audio track 1, .mov cannot take flac; .mkv may",
            ": no audio track 2, .mov cannot take opus; .mkv may",
        ]),
        (["flac", "libopus"], "mov", None, [
            ": no audio track 1, .mov cannot take flac; .mkv may",
            ": no audio track 2, .mov cannot take opus; .mkv may",
        ]),
    ],
)  # fmt: skip
def test_of_several_tracks_the_first_that_can_be_copied(tmp_path, codecs, suffix, taken, notes):
    source, made = film(tmp_path / "a.mkv", codecs), tmp_path / f"v.{suffix}"
    writer = dub(made, source)
    assert writer.notes == [f"{made}{note}" for note in notes]
    assert codecs_of(made) == ([taken] if taken else [])
    if taken:
        np.testing.assert_allclose(clicks(made), CLICKS_S, atol=0.03)


@pytest.mark.parametrize("codec", ["aac", "ac3", "mp2"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("second_start", [Fraction(0), Fraction(100)])
def test_audio_of_joined_recordings_goes_on_to_the_end(tmp_path, codec, suffix, second_start):
    first, second = film(tmp_path / "1.ts", [codec]), film(tmp_path / "2.ts", [codec], start=second_start)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes() + first.read_bytes())
    writer = dub(tmp_path / f"v.{suffix}", joined)
    assert writer.notes == []
    expected = [part + click for part in (0, 2, 4) for click in clicks(first)]
    np.testing.assert_allclose(clicks(tmp_path / f"v.{suffix}"), expected, atol=0.05)


def test_an_overlay_keeps_the_pixel_aspect_ratio_of_its_source(tmp_path):
    source = film(tmp_path / "a.mp4", [], frames=3)
    with open_source(source) as frames:
        frames.pixel_aspect = Fraction(16, 11)
        sink = OverlayVideo(tmp_path / "v.mp4", frames, lambda pixels, labels, out: pixels)
        for frame in frames:
            sink.write(sink.draw(Labelled(frame, np.zeros(SIZE, np.uint8))))
        sink.close()
    with open_source(tmp_path / "v.mp4") as made:
        assert made.pixel_aspect == Fraction(16, 11)


@pytest.mark.parametrize(("codecs", "told"), [(["aac"], 1), ([], 0)])
def test_films_in_parts_tell_of_the_audio_that_is_lost(codecs: list[str], told: int, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", codecs)
    with open_source(path) as source:
        sink = OverlayVideo(
            tmp_path / "b.mp4", source, lambda pixels, labels, out: pixels, audio_from=path, segment_s=60
        )
    assert sink.notes == [f"{tmp_path / 'b.mp4'}: no audio in films of --segment-time"][:told]
