"""A labelled frame as files for those who watch."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...contract.types import UInt8Array
from ...pictures.drawing import Drawing
from ...pictures.writing import jpeg_of, png_of_labels
from ...video.frames import Labelled
from ...video.sinks.host import host_labels, host_pixels


class Snapshot:
    """A labelled frame as files, each made when it is first asked for, from any thread.

    Args:
        labelled: the frame and its labels.
        drawing: how to draw the labels.
        palette: (count, 3) uint8, RGB, a colour for every label.

    Attributes:
        frame: that it shows.
        labels: (H, W) uint8 or uint16, in the host's memory.
    """

    def __init__(self, labelled: Labelled, drawing: Drawing, palette: UInt8Array) -> None:
        self.frame, self.labels = labelled.frame, host_labels(labelled)
        pixels = host_pixels(labelled)
        self._makers: dict[str, Callable[[], bytes]] = {
            "overlay.jpg": lambda: jpeg_of(drawing(pixels, self.labels)),
            "frame.jpg": lambda: jpeg_of(pixels),
            "labels.png": lambda: png_of_labels(self.labels, palette),
        }
        self._files: dict[str, bytes] = {}
        self._making = threading.Lock()

    def file(self, name: str) -> bytes:
        """The bytes of "overlay.jpg", "frame.jpg" or "labels.png"."""
        with self._making:
            if name not in self._files:
                self._files[name] = self._makers[name]()
            return self._files[name]
