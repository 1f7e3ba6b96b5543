"""What the user asks of encoders, read back from real files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcnrt import MediaError
from fcnrt.cli.main import main
from fcnrt.video import VideoWriter
from fcnrt.video.sinks import check_coding
from fcnrt.video.sinks.av_coding import Coding
from fcnrt.video.sinks.av_live import Order, Stream

av = pytest.importorskip("av")
NOISE = np.random.default_rng(0).integers(0, 256, (8, 98, 135, 3), dtype=np.uint8)
CODECS = ("h264", "hevc", "av1")


def written(path: Path, coding: Coding) -> tuple[str, int, int]:
    """Codec, frames and bytes of a film of noise."""
    check_coding(str(path), "overlay", coding)
    with VideoWriter(path, 25, (98, 135), coding=coding) as writer:
        for frame in NOISE:
            writer.write(frame)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        codec = {"libdav1d": "av1"}.get(stream.codec_context.name, stream.codec_context.name)
        return codec, sum(1 for _ in film.decode(stream)), path.stat().st_size


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_codec_is_the_one_asked_for(codec: str, suffix: str, tmp_path: Path) -> None:
    try:
        check_coding("x.mp4", "overlay", Coding(codec))
    except MediaError as error:
        pytest.skip(str(error))
    fine = written(tmp_path / f"fine{suffix}", Coding(codec, crf=10))
    coarse = written(tmp_path / f"coarse{suffix}", Coding(codec, crf=45))
    assert fine[:2] == coarse[:2] == (codec, len(NOISE)) and coarse[2] < fine[2]


def test_a_lower_bit_rate_is_a_smaller_file(tmp_path: Path) -> None:
    large, small = (written(tmp_path / f"{rate}.mp4", Coding(bitrate=rate))[2] for rate in (8_000_000, 300_000))
    assert small < large / 2


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_streams_have_the_codec_too(codec: str, tmp_path: Path) -> None:
    sizes = []
    for crf in (10, 45):
        path = tmp_path / f"{crf}.ts"
        stream = Stream(Order(str(path), "mpegts", {}, (98, 135), "25", 10.0, Coding(codec, crf=crf)))
        for number, frame in enumerate(NOISE):
            stream.push(frame, round(1_000_000 * Fraction(number, 25)))
        stream.close()
        with av.open(str(path)) as film:
            assert film.streams.video[0].codec_context.name == codec
            assert sum(1 for _ in film.decode(video=0)) == len(NOISE)
        sizes.append(path.stat().st_size)
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize(
    ("where", "content", "coding", "why"),
    [
        ("a.mp4", "overlay", Coding(bitrate=2_000_000, crf=20), "expected --bitrate or --crf, got both"),
        ("a.mp4", "overlay", Coding(crf=52), "expected --crf from 0 to 51, got 52"),
        ("a.mp4", "labels", Coding(crf=20), "lossless"),
        ("a.m3u8", "overlay", Coding("hevc"), "expected --codec h264 for this output, got hevc"),
        ("udp://127.0.0.1:9", "overlay", Coding("av1"), "expected --codec h264 or hevc"),
        ("a.mov", "overlay", Coding("av1"), "expected --codec h264 or hevc for this output, got av1"),
        ("a.png", "overlay", Coding("hevc"), "are for videos"),
    ],
)
def test_what_cannot_be_is_refused(where: str, content: Any, coding: Coding, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        check_coding(where, content, coding)


def test_refused_before_anything_is_opened(tmp_path: Path, capsys: Any) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"never read")
    status = main(["segment", str(model), "test:*2", "--labels", "-o", str(tmp_path / "a.mp4"), "--crf", "30"])
    error = capsys.readouterr().err
    assert status == 1 and error.count("\n") == 1 and "lossless" in error


@pytest.mark.parametrize("codec", CODECS)
def test_encoders_keep_their_own_lines_to_themselves(codec: str, tmp_path: Path, capfd: Any) -> None:
    try:
        written(tmp_path / "film.mp4", Coding(codec, crf=30))
    except MediaError as error:
        pytest.skip(str(error))
    assert capfd.readouterr() == ("", "")
