"""The encoders and containers that videos are written with, and how to open them in PyAV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import MediaError, first_line


class Container(NamedTuple):
    """A file format.

    Attributes:
        name: what FFmpeg calls it.
        options: that keep a file readable while it is written.
        ticks: its steps of time per second.
        edits: whether it can say that what lies before time 0 is to be decoded, but not played.
        codecs: that it takes, as `FILM_ENCODERS` calls them.
    """

    name: str
    options: dict[str, str]
    ticks: int
    edits: bool
    codecs: tuple[str, ...] = ("h264", "hevc", "av1")


# Fragments of a second, of which finishing makes an ordinary file; FFmpeg 7.1 and newer.
_FRAGMENTS = {"movflags": "hybrid_fragmented+empty_moov", "frag_duration": "1000000"}

# Of these encodings the head of a file tells what only their packets say; it is written with the first fragment.
_TOLD_BY_PACKETS = ("ac3", "eac3")
_DELAYED_HEAD = {"movflags": "hybrid_fragmented+delay_moov"}

# A whole number of those of 90 kHz, of milliseconds, and of the clocks that files have for 24, 25, 30, 50 and 60 frames
# per second and their NTSC kin: 12288, 12800, 15360, 24000, 30000, 60000.
_FINE = 23_040_000

CONTAINERS = {
    ".mp4": Container("mp4", _FRAGMENTS, _FINE, edits=True),
    ".mov": Container(
        "mov", _FRAGMENTS, 90_000, edits=True, codecs=("h264", "hevc")
    ),  # lengths are 32 bits in QuickTime
    ".mkv": Container("matroska", {"cluster_time_limit": "1000"}, 1000, edits=False),
}


class Encoder(NamedTuple):
    """An encoder of FFmpeg's. None reorders frames, so that times are plain for every player.

    Attributes:
        name: what FFmpeg calls it.
        options: of its own.
        quality: the option for constant quality, where it has one.
        pixel_format: that it takes.
        most_ticks: the finest steps of time that it takes, per second.
        tag: the mark of MP4 and MOV without which players of Apple's refuse it.
    """

    name: str
    options: dict[str, str]
    quality: str | None = None
    pixel_format: str = "yuv420p"
    most_ticks: int = _FINE
    tag: str | None = None


# In the order of preference; which of them there are depends on how FFmpeg was built.
ENCODERS = (
    Encoder("libx264", {"preset": "veryfast", "crf": "20", "bf": "0"}, "crf"),
    Encoder("h264_nvenc", {"preset": "p4", "rc": "vbr", "cq": "20", "bf": "0"}, "cq"),
    Encoder("libopenh264", {}),
    Encoder("mpeg4", {"flags": "+qscale", "global_quality": "354"}, most_ticks=60_000),  # quantiser 3
)
# For who watches now: no frame waits for another, and any picture can be made one from which a reader can start.
_KEYS = {"bf": "0", "forced-idr": "1"}
LIVE_ENCODERS = (
    Encoder(
        "libx264", {"preset": "veryfast", "tune": "zerolatency", "x264-params": "repeat-headers=1", **_KEYS}, "crf"
    ),
    Encoder("h264_nvenc", {"preset": "p4", "tune": "ull", "delay": "0", "zerolatency": "1", **_KEYS}, "cq"),
    Encoder("libopenh264", {}),
)
_X265 = {"preset": "veryfast", "x265-params": "log-level=none:repeat-headers=1"}
FILM_ENCODERS = {
    "h264": ENCODERS[:-1],  # the last is another codec
    "hevc": (
        Encoder("libx265", {**_X265, "x265-params": "log-level=none", "crf": "23", "bf": "0"}, "crf", tag="hvc1"),
        Encoder("hevc_nvenc", {"preset": "p4", "rc": "vbr", "cq": "23", "bf": "0"}, "cq", tag="hvc1"),
    ),
    "av1": (
        Encoder("libsvtav1", {"preset": "10", "crf": "32"}, "crf"),
        Encoder("av1_nvenc", {"preset": "p4", "rc": "vbr", "cq": "32", "bf": "0"}, "cq"),
    ),
}
STREAM_ENCODERS = {
    "h264": LIVE_ENCODERS,
    "hevc": (
        Encoder("libx265", {**_X265, "tune": "zerolatency", **_KEYS}, "crf"),
        Encoder("hevc_nvenc", {"preset": "p4", "tune": "ull", "delay": "0", "zerolatency": "1", **_KEYS}, "cq"),
    ),
}
EXACT_ENCODERS = (Encoder("libx264rgb", {"preset": "superfast", "qp": "0", "bf": "0"}, pixel_format="bgr0"),)

# FFmpeg's numbers for the colours of BT.709, and for RGB as it is.
_BT709 = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}
_RGB = {"colorspace": 0, "color_range": 2, "color_primaries": 1, "color_trc": 13}


def find_encoder(av: Any, encoders: Sequence[Encoder], size: tuple[int, int]) -> Encoder:
    """The first encoder that this FFmpeg has and that takes pictures of (height, width).

    Raises:
        MediaError: there is none.
    """
    # SVT-AV1 writes its settings to the standard error unless this, which it reads once, lets errors alone through.
    os.environ.setdefault("SVT_LOG", "1")
    reasons = []
    for encoder in encoders:
        try:
            context = av.CodecContext.create(encoder.name, "w")
            context.height, context.width = size
            context.pix_fmt, context.time_base = encoder.pixel_format, Fraction(1, 25)
            context.options = dict(encoder.options)
            context.open()
        # PyAV raises ValueError for an encoder that is not there.
        except (av.FFmpegError, ValueError) as error:
            reasons.append(f"{encoder.name} ({first_line(error)})")
        else:
            return encoder
    raise MediaError(f"cannot encode a video of size {size} with this FFmpeg: tried {', '.join(reasons)}")


def create_container(av: Any, part: Path, audio_codec: str | None = None) -> Any:
    """Make a container for the file `part`; the file is not touched before the header is written."""
    container = CONTAINERS[part.suffix.lower()]
    head = _DELAYED_HEAD if audio_codec in _TOLD_BY_PACKETS and container.options is _FRAGMENTS else {}
    # What is encoded goes to the file, not into a buffer that would die with the process; and times stay as they are.
    options = {**container.options, **head, "flush_packets": "1", "avoid_negative_ts": "disabled"}
    return av.open(os.path.abspath(part), "w", format=container.name, container_options=options)


def add_video(
    container: Any,
    encoder: Encoder,
    rate: Fraction,
    size: tuple[int, int],
    ticks: int,
    pixel_aspect: Fraction = Fraction(1),
) -> Any:
    """Add a video track to a container that is being opened; `ticks` are its steps of time per second."""
    stream = container.add_stream(encoder.name, rate=rate, options=dict(encoder.options), time_base=Fraction(1, ticks))
    stream.height, stream.width = size
    stream.pix_fmt = encoder.pixel_format
    context = stream.codec_context
    context.sample_aspect_ratio = pixel_aspect
    context.thread_type = "AUTO"  # PyAV's default would slice each picture instead of taking several at a time
    for name, number in (_BT709 if encoder.pixel_format == "yuv420p" else _RGB).items():
        setattr(context, name, number)
    return stream
