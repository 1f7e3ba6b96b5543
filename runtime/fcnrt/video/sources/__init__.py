"""Finds out what frames are to be read from, and opens it."""

from __future__ import annotations

import glob
import sys
from collections.abc import Mapping
from pathlib import Path

from ...errors import MissingDependency, pip_install
from ...pictures.inputs import IMAGE_SUFFIXES
from ..addresses import camera, is_generated, scheme
from ..frames import FrameSource
from .av_reader import AvReader
from .generated import Generated
from .live import Reconnecting
from .opencv_reader import OpenCvReader
from .stills import Stills


def open_source(
    where: str | Path,
    *,
    timeout: float = 10.0,
    reconnect_interval: float = 1.0,
    reconnect_attempts: int | None = None,
    options: Mapping[str, str] | None = None,
    hwaccel: str | None = None,
) -> FrameSource:
    """Open whatever frames come from; PyAV decodes, or OpenCV where PyAV is not installed.

    Args:
        where: a video file; an address (rtsp, rtmp, udp, rtp, srt, http ...); `camera:0` or `/dev/video0`; a folder or
            glob pattern of pictures; or `test:480x640@30*300`, generated frames.
        timeout: seconds until a silent server or camera is given up.
        reconnect_interval: seconds before a lost live source is opened again, doubling up to 30 s.
        reconnect_attempts: failures in a row after which it is given up; None: never, once it was connected.
        options: of FFmpeg's demuxers and protocols, such as {"rtsp_transport": "udp"}.
        hwaccel: "cuda" to decode on the GPU and leave the frames there.

    Returns:
        the source, with its first frame decoded.

    Raises:
        MediaError: it cannot be opened, or holds no frame.
        MissingDependency: PyAV or OpenCV is needed, or Pillow for pictures.
    """
    where = str(where)
    if is_generated(where):
        return Generated(where)
    if _names_pictures(where):
        return Stills(where)

    def connect() -> FrameSource:
        return _reader(where, timeout, options, hwaccel)

    if scheme(where) is None and camera(where) is None:
        return connect()
    return Reconnecting(connect, interval=reconnect_interval, attempts=reconnect_attempts)


def _names_pictures(where: str) -> bool:
    if scheme(where):
        return False
    path = Path(where)
    # Names with brackets are common: a file is looked for before a pattern.
    pattern = glob.has_magic(where) and not path.is_file()
    return pattern or path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES


def _reader(where: str, timeout: float, options: Mapping[str, str] | None, hwaccel: str | None) -> FrameSource:
    # PyAV opens Linux's cameras only.
    if camera(where) is None or sys.platform == "linux":
        try:
            return AvReader(where, timeout=timeout, options=options, hwaccel=hwaccel)
        except MissingDependency:
            if options or hwaccel:
                raise
    try:
        return OpenCvReader(where, timeout=timeout)
    except MissingDependency as error:
        raise MissingDependency(f"videos need PyAV or OpenCV: {pip_install('fcnrt[video]')}") from error
