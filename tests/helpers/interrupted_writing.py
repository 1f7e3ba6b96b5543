"""Ctrl-C at many moments while a film is written: python interrupted_writing.py FOLDER HEIGHT WIDTH.

In a process of its own: what it hits is the encoder mostly, which must not lose what it was about to give.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from fcnrt.video import VideoWriter
from frames import blocks


def main(folder: str, height: str, width: str) -> None:
    path, size = Path(folder) / "v.mkv", (int(height), int(width))
    frames = blocks(*size, 400)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for wait_ms in range(1, 40, 3):
        check(path, frames, write_until_interrupted(path, frames, wait_ms / 1000))


def write_until_interrupted(path: Path, frames: Sequence[np.ndarray], seconds: float) -> int:
    """How many frames were given to the writer, the interrupted one included."""
    given = 0
    with contextlib.suppress(KeyboardInterrupt), VideoWriter(path, 25, frames[0].shape[:2]) as writer:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        for given, frame in enumerate(frames, start=1):  # noqa: B007
            writer.write(frame)
        time.sleep(60)
        raise TimeoutError("no interrupt came")
    return given


def check(path: Path, frames: Sequence[np.ndarray], given: int) -> None:
    if given > 1:
        with av.open(str(path)) as container:
            back = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        assert given - 1 <= len(back) <= given, (given, len(back))
        assert all(np.abs(read - frame).mean() < 40 for read, frame in zip(back, frames, strict=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
