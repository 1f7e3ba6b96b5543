"""Overlay video as a live HLS playlist: short segments beside it, of which old ones are removed."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from ...contract.types import UInt8Array
from ...errors import MediaError, first_line
from ...pictures.drawing import Drawing
from ..av_container import pyav
from ..frames import FrameSource, Labelled, Sink
from .av_coding import Coding
from .av_live import Order, Stream
from .films import FALLBACK_RATE
from .host import host_labels, host_pixels
from .pace import Pace

SUFFIX = ".m3u8"
CODECS = ("h264",)  # browsers take no other in segments of MPEG-TS

_ANY_CODING = Coding()

_OPTIONS = {
    "hls_time": "2",
    "hls_list_size": "6",
    "hls_delete_threshold": "1",
    "hls_flags": "append_list+delete_segments+independent_segments+program_date_time+temp_file",
}


class _Picture(NamedTuple):
    pixels: UInt8Array
    time: Fraction


class HlsVideo(Sink):
    """Writes frames with their labels drawn over them to a live playlist, for players and web servers.

    The playlist names the last six segments of two seconds, NAME_000000.ts and so on; those before are removed. A
    playlist that an earlier run left is continued. A file is written at the speed at which it plays.

    Args:
        path: a name that ends in .m3u8.
        source: where the frames come from; it tells the rate.
        drawing: how to draw the labels.
        coding: what is asked of the encoder.

    Raises:
        MediaError: there is no such folder, or a playlist of other segments, which would be lost.
    """

    in_main_thread = False

    def __init__(self, path: str | Path, source: FrameSource, drawing: Drawing, coding: Coding = _ANY_CODING) -> None:
        coding.stream_encoders(CODECS)
        self.name, self._path, self._drawing = str(path), Path(path), drawing
        self._coding = coding
        self._rate, self._pace = source.rate or FALLBACK_RATE, Pace(source.live)
        self._stream: Stream | None = None
        self._errors = pyav().FFmpegError
        self._check_playlist()

    def draw(self, labelled: Labelled) -> _Picture:
        return _Picture(self._drawing(host_pixels(labelled), host_labels(labelled)), labelled.frame.time)

    def write(self, drawn: _Picture) -> None:
        time_us = round(1_000_000 * self._pace.hold(drawn.time))
        try:
            if self._stream is None:
                height, width, _ = drawn.pixels.shape
                self._stream = Stream(self._order((height, width)))
            self._stream.push(drawn.pixels, time_us)
        except self._errors as error:
            raise self._failure(error) from error

    def close(self) -> None:
        stream, self._stream = self._stream, None
        try:
            if stream:
                stream.close()
        except self._errors as error:
            raise self._failure(error) from error

    def _order(self, size: tuple[int, int]) -> Order:
        # Absolute paths, because FFmpeg reads `name:rest` as a protocol.
        path = os.path.abspath(self._path)
        segments = os.path.join(os.path.dirname(path), f"{self._stem}_%06d.ts")
        return Order(
            path, "hls", {**_OPTIONS, "hls_segment_filename": segments}, size, str(self._rate), 0, self._coding
        )

    @property
    def _stem(self) -> str:
        """What the segments' names begin with: FFmpeg would put their numbers in wherever there is a %."""
        return self._path.stem.replace("%", "_")

    def _check_playlist(self) -> None:
        if not self._path.absolute().parent.is_dir():  # FFmpeg would go on without a word
            raise MediaError(f"{self.name}: cannot write: no such folder")
        if self._path.exists():
            own = re.compile(re.escape(self._stem) + r"_\d{6,}\.ts")
            lines = self._path.read_text(errors="replace").splitlines()
            if not all(own.fullmatch(line) for line in lines if line and not line.startswith("#")):
                raise MediaError(f"{self.name}: expected a playlist of this program, or none, got another one's")

    def _failure(self, error: Exception) -> MediaError:
        return MediaError(f"{self.name}: cannot write: {getattr(error, 'strerror', None) or first_line(error)}")
