"""Overlays and labels as videos."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...contract.types import UInt8Array
from ...pictures.drawing import Drawing
from ...pictures.palette import check_palette
from ..frames import FrameSource, Labelled, Sink, pixel_aspect_of
from .av_audio import has_audio
from .av_coding import Coding
from .av_writer import VideoWriter
from .host import host_labels, host_pixels

_ANY_CODING = Coding()
FALLBACK_RATE = Fraction(25)  # frames per second of a source that does not tell


class _Picture(NamedTuple):
    time: Fraction
    pixels: UInt8Array


class _VideoSink(Sink):
    """Writes pictures to a video, each at its frame's time. The file is opened by the first one, in its size.

    Attributes:
        notes: one line for each thing that could not be had, such as audio.
    """

    in_main_thread = False

    def __init__(
        self,
        path: str | Path,
        source: FrameSource,
        *,
        exact: bool = False,
        audio_from: str | Path | None = None,
        segment_s: float | None = None,
        coding: Coding = _ANY_CODING,
    ) -> None:
        self.name, self.notes = str(path), list[str]()
        self._path, self._rate = Path(path), source.rate or FALLBACK_RATE
        self._exact, self._audio_from, self._segment_s = exact, audio_from, segment_s
        if segment_s is not None and audio_from is not None:
            self._audio_from = None
            if has_audio(audio_from):
                self.notes.append(f"{path}: no audio in films of --segment-time")
        self._coding = coding
        self._pixel_aspect = pixel_aspect_of(source)
        self._began = Fraction(0)  # when the first frame of the film is shown
        self._writer: VideoWriter | None = None
        self._spare: deque[UInt8Array] = deque()

    def write(self, drawn: _Picture) -> None:
        if self._writer and self._segment_s is not None and drawn.time - self._began >= self._segment_s:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer = self._opened(drawn)
        self._writer.write(drawn.pixels, drawn.time - self._began)
        self._spare.append(drawn.pixels)

    def _opened(self, first: _Picture) -> VideoWriter:
        """A film that begins with a picture."""
        height, width, _ = first.pixels.shape
        path = self._path
        if self._segment_s is not None:
            path, self._began = path_of_now(self._path), first.time
        writer = VideoWriter(
            path,
            self._rate,
            (height, width),
            exact=self._exact,
            audio_from=self._audio_from,
            pixel_aspect=self._pixel_aspect,
            coding=self._coding,
        )
        self.notes += writer.notes
        writer.notes = self.notes
        return writer

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _buffer(self, height: int, width: int) -> UInt8Array:
        """Memory for a picture: that of one which has been written, where there is one of this size."""
        with contextlib.suppress(IndexError):
            spare = self._spare.popleft()
            if spare.shape == (height, width, 3):
                return spare
        return np.empty((height, width, 3), dtype=np.uint8)


def path_of_now(path: Path) -> Path:
    """A name with the time in it, UTC, that nothing has yet: film.mp4 to film_20261129T021108Z.mp4."""
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    names = (path.with_stem(f"{path.stem}_{now}{f'_{number}' if number else ''}") for number in itertools.count())
    return next(name for name in names if not name.exists())


class OverlayVideo(_VideoSink):
    """Writes frames with their labels drawn over them to an H.264 video.

    Args:
        path: a name that ends in .mp4, .mov or .mkv.
        source: where the frames come from; it tells the rate.
        drawing: how to draw the labels.
        audio_from: the file whose audio goes with them, or None.
        segment_s: seconds after which another film begins; each then has the time in its name, and no audio.
        coding: what is asked of the encoder.
    """

    def __init__(
        self,
        path: str | Path,
        source: FrameSource,
        drawing: Drawing,
        audio_from: str | Path | None = None,
        segment_s: float | None = None,
        coding: Coding = _ANY_CODING,
    ) -> None:
        super().__init__(path, source, audio_from=audio_from, segment_s=segment_s, coding=coding)
        self._drawing = drawing

    def draw(self, labelled: Labelled) -> _Picture:
        pixels, labels = host_pixels(labelled), host_labels(labelled)
        return _Picture(labelled.frame.time, self._drawing(pixels, labels, self._buffer(*labels.shape)))


class LabelVideo(_VideoSink):
    """Writes the labels in the colours of a palette to a lossless H.264 video: every colour comes back exactly.

    Args:
        path: a name that ends in .mp4, .mov or .mkv.
        source: where the frames come from; it tells the rate.
        palette: (count, 3) uint8, RGB, a colour for every label.
        segment_s: seconds after which another film begins; each then has the time in its name.
    """

    def __init__(
        self, path: str | Path, source: FrameSource, palette: UInt8Array, segment_s: float | None = None
    ) -> None:
        super().__init__(path, source, exact=True, segment_s=segment_s)
        self._palette = palette

    def draw(self, labelled: Labelled) -> _Picture:
        labels = host_labels(labelled)
        check_palette(labels, self._palette)
        buffer = self._buffer(*labels.shape)
        # "clip" skips the copy that "raise" makes; the labels have been checked.
        return _Picture(labelled.frame.time, np.take(self._palette, labels, axis=0, out=buffer, mode="clip"))
