"""Videos whose writing was cut short, by a full disk say: what can be played of them."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

_HEAD_BYTES = 256  # more than FFmpeg changes at the beginning of a file of fragments to make it an ordinary one


def read_head(part: Path) -> bytes:
    """The beginning of a video that is about to be finished, for `playable_frames` in case that fails half-way."""
    with contextlib.suppress(OSError), open(part, "rb") as file:
        return file.read(_HEAD_BYTES)
    return b""


def playable_frames(av: Any, part: Path, head: bytes) -> int:
    """Make a video that was cut short playable, with the head that it had before, and count its frames."""
    try:
        if part.suffix.lower() != ".mkv":  # Matroska's players take a torn end as it is
            _mend(part, head)
        with av.open(os.path.abspath(part)) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.FFmpegError, OSError, IndexError):
        return 0


def _mend(part: Path, head: bytes) -> None:
    """Put the head back, and drop a torn fragment from the end of an MP4 file."""
    with open(part, "rb+") as file:
        file.write(head)
        file.truncate(_whole_bytes(file))


def _whole_bytes(file: BinaryIO) -> int:
    """Length of the boxes that are whole, without a fragment's head (`moof`) that lacks its frames (`mdat`)."""
    length, whole, position = os.fstat(file.fileno()).st_size, 0, 0
    while position + 8 <= length:
        file.seek(position)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        position += max(size, 8)
        if position <= length and kind != b"moof":
            whole = position
    return whole
