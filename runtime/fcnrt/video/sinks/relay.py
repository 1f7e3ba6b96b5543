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
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ...contract.types import UInt8Array
from ...errors import MediaError, first_line
from .av_encoders import LIVE_ENCODERS, Encoder, add_video, find_encoder
from .av_pictures import Pictures

HEAD = struct.Struct("<IIq")  # height, width, time in microseconds
DONE = b"."

_TICKS = 90_000  # per second; those of RTP and MPEG-TS
_KEY_S = 1  # between pictures from which a reader can start
_QUEUE_BYTES = 1 << 18  # half a second of 4 Mbit/s
_I_PICTURE = 1  # AV_PICTURE_TYPE_I
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Order(NamedTuple):
    """What to push where.

    Attributes:
        address: of the server, with all its secrets.
        format: FFmpeg's name of the muxer.
        options: of the muxer.
        size: (height, width) of the video.
        rate: frames per second, as the stream claims it.
        timeout: seconds after which a server that does not answer is given up.
    """

    address: str
    format: str
    options: dict[str, str]
    size: tuple[int, int]
    rate: str
    timeout: float


class Stream:
    """A connection to a server.

    Args:
        order: what to push where.

    Raises:
        av.FFmpegError: it cannot be opened.
        MediaError: there is no encoder for it.
    """

    def __init__(self, order: Order) -> None:
        import av

        self._prepare = Pictures(av, order.size, exact=False)
        encoder = find_encoder(av, LIVE_ENCODERS, self._prepare.size)
        self._container = av.open(order.address, "w", format=order.format, container_options=order.options)
        self._stream = _add_video(self._container, encoder, Fraction(order.rate), self._prepare.size)
        self._container.start_encoding()
        self._poll = _watched_sockets()
        self._start_us: int | None = None
        self._tick, self._key_tick = -1, 0

    def push(self, frame_hwc: UInt8Array, time_us: int) -> None:
        """Send a frame; raises av.FFmpegError or ConnectionError where the server is gone."""
        if self._poll.poll(0):
            raise ConnectionError("the server has left")
        if self._start_us is None:
            self._start_us = time_us
        picture = self._prepare(frame_hwc)
        picture.pts, picture.time_base = self._next_tick(time_us - self._start_us), Fraction(1, _TICKS)
        picture.pict_type = self._kind(picture.pts)
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Send what the encoder still holds and say goodbye."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _next_tick(self, time_us: int) -> int:
        self._tick = max(time_us * _TICKS // 1_000_000, self._tick + 1)
        return self._tick

    def _kind(self, tick: int) -> int:
        """Whether the picture is to be one from which a reader can start; 0 leaves it to the encoder."""
        if tick and tick - self._key_tick < _KEY_S * _TICKS:
            return 0
        self._key_tick = tick
        return _I_PICTURE


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
    _tell(sink)
    for frame_hwc, time_us in _frames(source):
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


def _add_video(container: Any, encoder: Encoder, rate: Fraction, size: tuple[int, int]) -> Any:
    stream = add_video(container, encoder, rate, size, min(_TICKS, encoder.most_ticks))
    stream.codec_context.thread_type = "SLICE"  # several pictures at a time would hold as many back
    stream.codec_context.gop_size = 10_000  # by time instead
    return stream


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
