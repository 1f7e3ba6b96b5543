"""A process of its own that encodes frames and pushes them to a server: `python -m fcnrt.video.sinks.relay`.

FFmpeg waits for servers as long as these like, and PyAV holds Python's lock while it connects. Here that holds up
nobody, and the kernel ends it when its time is up.

It reads an `Order`, a line of JSON, and then frames, each with a `HEAD` before its pixels. It writes a byte once it is
connected, and one for each frame that has gone out. What goes wrong is a line on its standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from ...contract.types import UInt8Array
from ...errors import MediaError, first_line
from .av_live import Order, Stream

HEAD = struct.Struct("<IIq")  # height, width, time in microseconds
DONE = b"."

_QUEUE_BYTES = 1 << 18  # half a second of 4 Mbit/s
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


def main() -> int:
    """Push what comes by the standard input until that ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    order = Order(**json.loads(source.readline()))
    try:
        _relay(order, source, sink)
    except Exception as error:  # of many kinds; whoever started us wants a line
        print(_reason(error), file=sys.stderr, flush=True)
        return 1
    return 0


def _relay(order: Order, source: BinaryIO, sink: BinaryIO) -> None:
    with _no_longer_than(order.timeout):
        stream = Stream(order)
    far_ends = _watched_sockets()
    _tell(sink)
    for frame_hwc, time_us in _frames(source):
        if far_ends.poll(0):
            raise ConnectionError("the server has left")
        with _no_longer_than(order.timeout):
            stream.push(frame_hwc, time_us)
        _tell(sink)
    with _no_longer_than(order.timeout):
        stream.close()


def _frames(source: BinaryIO) -> Iterator[tuple[UInt8Array, int]]:
    while len(head := source.read(HEAD.size)) == HEAD.size:
        height, width, time_us = HEAD.unpack(head)
        pixels = source.read(height * width * 3)
        if len(pixels) < height * width * 3:
            return
        yield np.frombuffer(pixels, np.uint8).reshape(height, width, 3), time_us


def _tell(sink: BinaryIO) -> None:
    sink.write(DONE)
    sink.flush()


@contextlib.contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    """Let the kernel end the process, which may hang in FFmpeg, where something takes longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _watched_sockets() -> select.poll:
    """Set up the connections for frames that nobody waits for, and watch their far ends.

    RTMP's writing does not always tell that the reader has gone, and what lies in a long queue is late.
    """
    poll = select.poll()
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                poll.register(descriptor, _GONE)
                _hurry(descriptor)
    return poll


def _hurry(descriptor: int) -> None:
    """Keep a TCP connection's queue short, and send small packets at once."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        if same.type == socket.SOCK_STREAM:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE_BYTES)
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reason(error: Exception) -> str:
    if isinstance(error, MediaError):
        return first_line(error)
    return str(getattr(error, "strerror", None) or first_line(error))


if __name__ == "__main__":
    sys.exit(main())
