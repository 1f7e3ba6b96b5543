"""Labels as bare bytes, for another program to read."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from ...contract.pipes import silence
from ...contract.types import Array
from ...errors import MediaError, first_line
from ..frames import Labelled, Sink
from .host import host_labels


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
            silence(self._stream)
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


def _frames(count: int) -> str:
    return f"{count} frame{'s'[: count != 1]}"
