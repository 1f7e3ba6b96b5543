"""Reads video files, cameras and network streams with OpenCV, where PyAV is not installed."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any, Literal

from ...contract.types import UInt8Array
from ...errors import MediaError, needs
from ..addresses import ALWAYS_LIVE, camera, check_file, public, scheme
from ..av_container import FILE_FORMATS
from ..clock import Clock
from ..frames import Frame
from .reader import Reader

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_USUAL_RATE = Fraction(25)

# Their headers say how many frames there are; of other formats OpenCV estimates it. But clips that were cut without
# encoding hide the frames between a key frame and the cut.
_CLAIMING, _HIDDEN_S = (".mp4", ".m4v", ".mov", ".avi"), 10


class OpenCvReader(Reader):
    """Decodes a file, a camera or a network stream: upright RGB, times to the millisecond or better.

    What `AvReader` has beside that is missing: OpenCV does not say which packets were damaged, takes no options, and a
    file that was cut off is told only by ten seconds or more that are missing.

    Args:
        where: a file's path, an address, `camera:0` or `/dev/video0`.
        timeout: seconds until a silent server is given up.

    Raises:
        MediaError: it cannot be opened, is no video, or not a single frame of it can be decoded.
        MissingDependency: OpenCV is not installed.
    """

    color: Literal["rgb", "nv12"] = "rgb"

    def __init__(self, where: str | Path, *, timeout: float = 10.0) -> None:
        super().__init__()
        where = str(where)
        self.name, self.faults, self._timeout = public(where), Counter[str](), timeout
        remote, self._camera = scheme(where), camera(where)
        with quiet_opencv() as cv2:
            self._capture = self._opened(cv2, where, remote)
            self.rate = _rate(self._capture.get(cv2.CAP_PROP_FPS))
            count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        counted = math.isfinite(count) and count > 0
        self.live = self._camera is not None or remote in ALWAYS_LIVE or bool(remote and not counted)
        self.frame_count = int(count) if counted and not self.live else None
        self._claims = where.lower().endswith(_CLAIMING)
        self._clock, self._number = Clock(1 / (self.rate or _USUAL_RATE), self.live), 0
        self._first = self._decoded()
        if self._first is None:
            self.close()
            raise MediaError(f"{self.name}: cannot decode a single frame; expected a whole, readable video file")
        self.size = self._first.pixels.shape[:2]

    def _read(self) -> Frame | None:
        frame, self._first = self._first, None
        frame = frame or self._decoded()
        if frame is None:
            self._check_end()
        return frame

    def _release(self) -> None:
        self._first = None
        self._capture.release()

    def _opened(self, cv2: ModuleType, where: str, remote: str | None) -> Any:
        if self._camera is not None:
            return cv2.VideoCapture(self._camera)
        if remote is None:
            check_file(where)
            with _containers_alone():
                # An absolute path, because FFmpeg reads `name:rest` as a protocol.
                return cv2.VideoCapture(os.path.abspath(where))
        milliseconds = int(1000 * self._timeout)
        limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds)
        return cv2.VideoCapture(where, cv2.CAP_FFMPEG, limits)

    def _decoded(self) -> Frame | None:
        with quiet_opencv() as cv2:
            decoded, pixels_bgr = self._capture.read()
            if not decoded:
                return None
            now, milliseconds = monotonic(), self._capture.get(cv2.CAP_PROP_POS_MSEC)
            pixels: UInt8Array = cv2.cvtColor(pixels_bgr, cv2.COLOR_BGR2RGB)
        # Cameras have no times, or times of their own.
        seconds = Fraction(now) if self._camera is not None else Fraction(round(1000 * milliseconds), 1_000_000)
        frame = Frame(pixels, self._clock.tell(seconds), self._number, now)
        self._number += 1
        return frame

    def _check_end(self) -> None:
        if not self._claims or not self.frame_count or self.live:
            return
        if self.frame_count - self._number > _HIDDEN_S * (self.rate or _USUAL_RATE):
            raise MediaError(
                f"{self.name}: ends early, after {self._number} of about {self.frame_count} frames; "
                "the file is cut off or damaged"
            )


@contextlib.contextmanager
def quiet_opencv() -> Iterator[ModuleType]:
    """Import OpenCV and keep it, and the FFmpeg inside, from writing to the terminal."""
    # FFmpeg's level is read once, at the first use of it; OpenCV's own is put back afterwards.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with needs("OpenCV", "opencv-python"):
        import cv2
    # OpenCV 5 moved the two functions.
    logging: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = logging.setLogLevel(0)
    try:
        yield cv2
    finally:
        logging.setLogLevel(level)


@contextlib.contextmanager
def _containers_alone() -> Iterator[None]:
    """Keep the FFmpeg inside OpenCV from files that a playlist, called a video, would name; this is its only switch."""
    if _OPTIONS in os.environ:  # the user's own
        yield
        return
    os.environ[_OPTIONS] = f"format_whitelist;{FILE_FORMATS}|protocol_whitelist;file"
    try:
        yield
    finally:
        os.environ.pop(_OPTIONS, None)


def _rate(claimed: float) -> Fraction | None:
    """Frames per second as a fraction: 30000/1001, not 29.97."""
    return Fraction(claimed).limit_denominator(1001) if math.isfinite(claimed) and 0 < claimed <= 1000 else None
