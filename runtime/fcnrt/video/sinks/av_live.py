"""Video encoded by PyAV for who watches it now."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from ...contract.types import UInt8Array
from .av_coding import Coding
from .av_encoders import Encoder, add_video, find_encoder
from .av_pictures import Pictures

_TICKS = 90_000  # per second; those of RTP and MPEG-TS
_KEY_S = 1  # between pictures from which a reader can start
_I_PICTURE = 1  # AV_PICTURE_TYPE_I


class Order(NamedTuple):
    """What to push where.

    Attributes:
        address: of the server, with all its secrets; or a path.
        format: FFmpeg's name of the muxer.
        options: of the muxer.
        size: (height, width) of the video.
        rate: frames per second, as the stream claims it.
        timeout: seconds after which a server that does not answer is given up.
        coding: what is asked of the encoder.
    """

    address: str
    format: str
    options: dict[str, str]
    size: tuple[int, int]
    rate: str
    timeout: float
    coding: Coding = Coding()


class Stream:
    """Encoded video on its way to who watches now: no frame waits for another, and each second can be started at.

    Args:
        order: what to push where.

    Raises:
        av.FFmpegError: it cannot be opened.
        MediaError: there is no encoder for it.
    """

    def __init__(self, order: Order) -> None:
        import av

        self._prepare = Pictures(av, order.size, exact=False)
        encoder = find_encoder(av, Coding(*order.coding).stream_encoders(), self._prepare.size)
        self._container = av.open(order.address, "w", format=order.format, container_options=order.options)
        self._stream = _add_video(self._container, encoder, Fraction(order.rate), self._prepare.size)
        self._container.start_encoding()
        self._start_us: int | None = None
        self._tick, self._key_tick = -1, 0

    def push(self, frame_hwc: UInt8Array, time_us: int) -> None:
        """Send a frame, (H, W, 3) uint8 RGB; raises av.FFmpegError where that fails."""
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


def _add_video(container: Any, encoder: Encoder, rate: Fraction, size: tuple[int, int]) -> Any:
    stream = add_video(container, encoder, rate, size, min(_TICKS, encoder.most_ticks))
    stream.codec_context.thread_type = "SLICE"  # several pictures at a time would hold as many back
    stream.codec_context.gop_size = 10_000  # by time instead
    return stream
