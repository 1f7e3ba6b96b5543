"""Where labelled frames go: overlay and label videos, label pictures, a bare stream of labels."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ...contract.types import Array, UInt8Array
from ...errors import MediaError, first_line
from ...pictures.drawing import Drawing
from ...pictures.images import write_labels
from ...pictures.palette import check_palette
from ..frames import FrameSource, Labelled, Sink
from .av_writer import VideoWriter

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
        self, path: str | Path, source: FrameSource, *, exact: bool = False, audio_from: str | Path | None = None
    ) -> None:
        self.name, self.notes = str(path), list[str]()
        self._path, self._rate = path, source.rate or FALLBACK_RATE
        self._exact, self._audio_from = exact, audio_from
        self._writer: VideoWriter | None = None
        self._spare: deque[UInt8Array] = deque()

    def write(self, drawn: _Picture) -> None:
        if self._writer is None:
            height, width, _ = drawn.pixels.shape
            self._writer = VideoWriter(
                self._path, self._rate, (height, width), exact=self._exact, audio_from=self._audio_from
            )
            self.notes = self._writer.notes
        self._writer.write(drawn.pixels, drawn.time)
        self._spare.append(drawn.pixels)

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _room(self, height: int, width: int) -> UInt8Array:
        """Memory for a picture: that of one which has been written, where there is one of this size."""
        with contextlib.suppress(IndexError):
            spare = self._spare.popleft()
            if spare.shape == (height, width, 3):
                return spare
        return np.empty((height, width, 3), dtype=np.uint8)


class OverlayVideo(_VideoSink):
    """Writes frames with their labels drawn over them to an H.264 video.

    Args:
        path: a name that ends in .mp4, .mov or .mkv.
        source: where the frames come from; it tells the rate.
        drawing: how to draw the labels.
        audio_from: the file whose audio goes with them, or None.
    """

    def __init__(
        self, path: str | Path, source: FrameSource, drawing: Drawing, audio_from: str | Path | None = None
    ) -> None:
        super().__init__(path, source, audio_from=audio_from)
        self._drawing = drawing

    def draw(self, labelled: Labelled) -> _Picture:
        pixels, labels = host_pixels(labelled), host_labels(labelled)
        return _Picture(labelled.frame.time, self._drawing(pixels, labels, self._room(*labels.shape)))


class LabelVideo(_VideoSink):
    """Writes the labels in the colours of a palette to a lossless H.264 video: every colour comes back exactly.

    Args:
        path: a name that ends in .mp4, .mov or .mkv.
        source: where the frames come from; it tells the rate.
        palette: (count, 3) uint8, RGB, a colour for every label.
    """

    def __init__(self, path: str | Path, source: FrameSource, palette: UInt8Array) -> None:
        super().__init__(path, source, exact=True)
        self._palette = palette

    def draw(self, labelled: Labelled) -> _Picture:
        labels = host_labels(labelled)
        check_palette(labels, self._palette)
        room = self._room(*labels.shape)
        # "clip" skips the copy that "raise" makes; the labels have been checked.
        return _Picture(labelled.frame.time, np.take(self._palette, labels, axis=0, out=room, mode="clip"))


class LabelPictures(Sink):
    """Writes the labels to a folder of PNGs, 000000.png and so on, which viewers show in colours.

    The first frame makes the folder, or removes numbered PNGs that are there from an earlier run.

    Args:
        folder: where to.
        palette: (count, 3) uint8, RGB, a colour for every label.
    """

    in_main_thread = False

    def __init__(self, folder: str | Path, palette: UInt8Array) -> None:
        self.name = str(folder)
        self._folder, self._palette, self._count = Path(folder), palette, 0

    def draw(self, labelled: Labelled) -> Array:
        return host_labels(labelled)

    def write(self, drawn: Array) -> None:
        if not self._count:
            self._make_room()
        write_labels(self._folder / f"{self._count:06d}.png", drawn, self._palette)
        self._count += 1

    def close(self) -> None:
        """Nothing is left to do: each picture is whole as soon as it has its name."""

    def _make_room(self) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
            for stale in self._folder.glob("[0-9]*.png"):
                if stale.stem.isdecimal() and len(stale.stem) >= 6:
                    stale.unlink()
        except OSError as error:
            raise MediaError(f"{self._folder}: cannot write there: {error.strerror or first_line(error)}") from error


class RawLabels(Sink):
    """Writes the labels to a stream, row by row and frame by frame, with nothing before, between or after them.

    A label is one byte, or two, the lower one first, where the model has more than 256 classes.

    Args:
        stream: such as `sys.stdout.buffer`; it stays open.
    """

    name = "labels"
    in_main_thread = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._count = stream, 0
        self._size: tuple[int, ...] | None = None

    def draw(self, labelled: Labelled) -> Array:
        labels = host_labels(labelled)
        return np.ascontiguousarray(labels, dtype=labels.dtype.newbyteorder("<"))

    def write(self, drawn: Array) -> None:
        self._check_size(drawn.shape)
        left = drawn.reshape(-1).view(np.uint8).data
        try:
            while left:  # an unbuffered stream may take less than it is given
                left = left[self._stream.write(left) :]
            self._stream.flush()
        except BrokenPipeError as error:
            self._silence()
            raise MediaError(f"{self.name}: the reader went away after {_frames(self._count)}") from error
        except OSError as error:
            reason = error.strerror or first_line(error)
            raise MediaError(f"{self.name}: cannot write after {_frames(self._count)}: {reason}") from error
        self._count += 1

    def close(self) -> None:
        """Nothing is left to do: each frame is flushed."""

    def _check_size(self, size: tuple[int, ...]) -> None:
        self._size = self._size or size
        if size != self._size:
            was, now = ("x".join(map(str, each)) for each in (self._size, size))
            raise MediaError(
                f"{self.name}: expected frames of {was} as before, got {now} after {_frames(self._count)}; "
                "a reader of bare labels could not tell, write them to a folder or a video"
            )

    def _silence(self) -> None:
        """Turn the broken stream into a sink, or Python complains at its end of what it could not flush."""
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def host_pixels(labelled: Labelled) -> UInt8Array:
    """The frame's pixels; raises MediaError where they are not in the host's memory."""
    pixels = labelled.frame.pixels
    if not isinstance(pixels, np.ndarray):
        raise MediaError(f"frame: expected pixels in the host's memory, got {type(pixels).__name__}; decode on the CPU")
    return pixels


def host_labels(labelled: Labelled) -> Array:
    """The labels, copied to the host where they are on a GPU."""
    labels: Any = labelled.labels
    array: Array = labels if isinstance(labels, np.ndarray) else labels.numpy()
    return array


def _frames(count: int) -> str:
    return f"{count} frame{'s'[: count != 1]}"
