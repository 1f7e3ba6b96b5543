"""Finds out what frames are to be read from, and opens it."""

from __future__ import annotations

import glob
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...errors import MissingDependency, pip_install
from ...pictures.inputs import is_sequence
from ...pictures.kinds import PICTURE_SUFFIXES, is_animated, kind_of
from ...pictures.reading import Levels
from ..addresses import camera, is_generated, is_live_name, is_pipe, is_session, is_stream, scheme
from ..frames import FrameSource
from .av_reader import AvReader
from .deinterlacing import Deinterlace
from .generated import Generated
from .live import Reconnecting
from .opencv_reader import OpenCvReader
from .stills import DEFAULT_RATE, Animation, Stills


def open_source(
    where: str | Path,
    *,
    timeout: float = 10.0,
    reconnect_interval: float = 1.0,
    reconnect_attempts: int | None = None,
    options: Mapping[str, str] | None = None,
    form: str | None = None,
    hwaccel: str | None = None,
    deinterlace: Deinterlace = "auto",
    picture_rate: Fraction | int = DEFAULT_RATE,
    levels: Levels | None = None,
    max_pixels: int | None = None,
) -> FrameSource:
    """Open whatever frames come from; PyAV decodes, or OpenCV where PyAV is not installed.

    Args:
        where: a video file; "-" (the standard input) or a named pipe; an address (rtsp, rtmp, udp, rtp, http ...) or an
            .sdp file; `camera:0` or `/dev/video0`; a folder, glob pattern or numbered sequence (frame_%04d.png) of
            pictures; a picture that moves; or `test:480x640@30*300`, generated frames.
        timeout: seconds until a silent server or camera is given up.
        reconnect_interval: seconds before a lost live source is opened again, doubling up to 30 s.
        reconnect_attempts: failures in a row after which it is given up; None: never, once it was connected.
        options: of FFmpeg's demuxers and protocols, such as {"rtsp_transport": "udp"}.
        form: FFmpeg's name of the container, where the contents do not tell, such as "rawvideo".
        hwaccel: "cuda" to decode on the GPU and leave the frames there.
        deinterlace: "auto" deinterlaces what a stream says is interlaced, "on" all, "off" nothing.
        picture_rate: pictures per second, where pictures make a video.
        levels, max_pixels: of pictures, as `read_image` has them.

    Returns:
        the source, with its first frame decoded.

    Raises:
        MediaError: it cannot be opened, or holds no frame.
        MissingDependency: PyAV or OpenCV is needed, or Pillow for pictures.
    """
    where = str(where)
    if is_generated(where):
        return Generated(where)
    if not is_stream(where):
        if _names_pictures(where):
            return Stills(where, rate=picture_rate, levels=levels, max_pixels=max_pixels)
        if is_animated(where):
            return Animation(where, max_pixels=max_pixels)

    def connect() -> FrameSource:
        return _reader(where, timeout=timeout, options=options, form=form, hwaccel=hwaccel, deinterlace=deinterlace)

    if scheme(where) is None and not is_live_name(where):
        return connect()
    return Reconnecting(connect, interval=reconnect_interval, attempts=reconnect_attempts)


def _names_pictures(where: str) -> bool:
    path = Path(where)
    if path.is_file():  # before a pattern: names with brackets are common
        return kind_of(path) == "picture"
    return path.is_dir() or glob.has_magic(where) or is_sequence(where) or path.suffix.lower() in PICTURE_SUFFIXES


def _reader(where: str, *, timeout: float, **decoding: Any) -> FrameSource:
    # PyAV opens Linux's cameras only.
    if camera(where) is None or sys.platform == "linux":
        try:
            return AvReader(where, timeout=timeout, **decoding)
        except MissingDependency:
            asked = any(decoding[name] for name in ("options", "form", "hwaccel"))
            if asked or is_pipe(where) or is_session(where):
                raise
    try:
        return OpenCvReader(where, timeout=timeout)
    except MissingDependency as error:
        if camera(where) is not None:
            raise
        raise MissingDependency(f"videos need PyAV or OpenCV: {pip_install('fcnrt[video]')}") from error
