"""Encodes small clips on the spot, with PyAV: smooth frames that carry their number in their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from fcnrt.errors import MediaError
from fcnrt.video.sources.generated import Generated, read_stamp

SIZE = (98, 134)  # odd enough for sizes to be mixed up, even enough for every codec
RATE = Fraction(25)
CODECS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9"}  # where the encoder has another name
QUICK = {
    "libx264": {"preset": "veryfast", "threads": "1"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "25", "b": "0"},
    "mpeg4": {"qscale": "3"},
    "mjpeg": {"qscale": "2"},
}


def clip(
    path: Path,
    *,
    codec: str = "h264",
    frames: int = 40,
    size: tuple[int, int] = SIZE,
    times: Iterable[Fraction | float] | None = None,
    first_number: int = 0,
    rotation: int = 0,
    mirrored: bool = False,
    audio_s: float = 0.0,
    pixel_format: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 0,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    colour: Mapping[str, int] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
    title: str | None = None,
) -> Path:
    """Encode a clip.

    Args:
        path: where to; its extension says which container.
        codec: h264, hevc, vp9 or a name that FFmpeg knows.
        frames: how many.
        size: (height, width).
        times: of the frames in seconds, for a variable rate; else 25 per second.
        first_number: that the first frame carries.
        rotation: counterclockwise, in degrees, by which players are to turn it.
        mirrored: whether players are to mirror it, left to right.
        audio_s: seconds of a tone beside the video.
        options: of the encoder.
        container_options: of the muxer.
        colour: attributes of the encoder's context, such as {"colorspace": 1, "color_range": 1}.
        pictures: other frames than the generated ones, (H, W, 3) RGB or (H, W) as the pixel format has them.
        title: of the container.

    Returns:
        the path.
    """
    encoder = CODECS.get(codec, codec)
    with av.open(str(path), "w", options=dict(container_options or {})) as container:
        stream = container.add_stream(encoder, rate=RATE, options={**QUICK.get(encoder, {}), **(options or {})})
        if title:
            container.metadata["title"] = title
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size = pixel_format, gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.time_base = 1 / RATE if times is None else Fraction(1, 1000)
        for name, value in (colour or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        tone = container.add_stream("aac", rate=8000, layout="mono") if audio_s else None
        stamps = list(times) if times is not None else [index / RATE for index in range(frames)]
        for time_s, picture in zip(stamps, pictures or _generated(size, first_number, len(stamps)), strict=True):
            container.mux(stream.encode(_frame(picture, time_s, stream, colour or {})))
        container.mux(stream.encode(None))
        if tone is not None:
            _write_tone(container, tone, audio_s)
    return path


def sound(path: Path) -> Path:
    """Encode a second of a tone, without a picture."""
    with av.open(str(path), "w") as container:
        _write_tone(container, container.add_stream("aac", rate=8000, layout="mono"), 1.0)
    return path


def numbers(frames: Iterable[Any]) -> list[int]:
    """The numbers that frames of a source carry in their pixels."""
    return [read_stamp(frame.pixels) for frame in frames]


def drained(source: Any) -> tuple[list[Any], MediaError | None]:
    """All frames of a source, and the error behind them, or None."""
    frames = []
    try:
        for frame in source:
            frames.append(frame)
    except MediaError as error:
        return frames, error
    return frames, None


def _generated(size: tuple[int, int], first: int, count: int) -> list[np.ndarray]:
    frames = list(Generated(f"test:{size[0]}x{size[1]}*{first + count}"))
    return [frame.pixels for frame in frames[first:]]


def _frame(picture: np.ndarray, time_s: Fraction | float, stream: Any, colour: Mapping[str, int]) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(picture), format="rgb24" if picture.ndim == 3 else stream.pix_fmt
    )
    if picture.ndim == 3:
        frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=colour.get("colorspace"))
    frame.time_base = stream.codec_context.time_base
    frame.pts = round(Fraction(time_s) / frame.time_base)
    return frame


def _write_tone(container: Any, stream: Any, seconds: float) -> None:
    samples = (8000 * np.sin(np.arange(int(8000 * seconds)) / 5)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = 8000, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
