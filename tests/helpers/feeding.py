"""Feeds a live stream of a server from a thread, as a pipeline does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np

from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.palette import voc_palette
from fcnrt.serving import LiveServer, LiveStream
from fcnrt.video import Labelled, open_source

SIZE = (98, 134)
CLASSES = ("sky", "road", "<b>car</b>", "unseen")
PALETTE = voc_palette(len(CLASSES))
COVERED = (0.5, 0.25, 0.25, 0.0)  # by each class, when numbers are even


def labels_of(number: int) -> np.ndarray:
    """(H, W) uint8: bands, of which sky gives a part to the road in odd frames."""
    labels = np.zeros(SIZE, np.uint8)
    rows = [round(SIZE[0] * share) for share in (0.5, 0.75)]
    labels[rows[0] - 5 * (number % 2) :] = 1
    labels[rows[1] :] = 2
    return labels


@contextlib.contextmanager
def feeding(server: LiveServer, where: str = f"test-live:{SIZE[0]}x{SIZE[1]}@25") -> Iterator[LiveStream]:
    """A stream with 25 frames per second, which carry their numbers, until the block ends."""
    with open_source(where) as source:
        stream, ended = server.stream(source, Drawing(PALETTE, 0.2), CLASSES, PALETTE), threading.Event()

        def feed() -> None:
            for frame in source:
                if ended.is_set():
                    break
                stream.write(stream.draw(Labelled(frame, labels_of(frame.number))))
            stream.close()

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield stream
        finally:
            ended.set()
            thread.join()
