"""Overlay video that leaves the machine: pushed to an RTSP or RTMP server, or as MPEG-TS over UDP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...errors import MediaError
from ...pictures.drawing import Drawing
from ..addresses import public, scheme
from ..backoff import Backoff
from ..frames import FrameSource, Labelled, Sink
from .av_coding import Coding
from .av_live import Order
from .films import FALLBACK_RATE
from .host import host_labels, host_pixels
from .pace import Pace
from .publisher import Picture, Publisher


class Muxer(NamedTuple):
    """FFmpeg's name of a muxer, and its options."""

    name: str
    options: Mapping[str, str] = {}


# By the scheme of the address.
MUXERS: Mapping[str, Muxer] = {
    "rtsp": Muxer("rtsp", {"rtsp_transport": "tcp"}),
    "rtsps": Muxer("rtsp", {"rtsp_transport": "tcp"}),
    "rtmp": Muxer("flv", {"flvflags": "no_duration_filesize"}),
    "rtmps": Muxer("flv", {"flvflags": "no_duration_filesize"}),
    "udp": Muxer("mpegts", {"muxdelay": "0"}),
}


class Patience(NamedTuple):
    """How long and how often servers are tried.

    Attributes:
        timeout: seconds until a silent one is given up.
        interval: seconds before the first attempt to connect again, doubled after each failure, 30 at most.
        attempts: failures in a row that end it; None: never.
    """

    timeout: float = 10.0
    interval: float = 1.0
    attempts: int | None = None


_USUAL, _ANY_CODING = Patience(), Coding()


def is_push_address(where: str) -> bool:
    """Whether video can be pushed there."""
    return where.partition("://")[0].lower() in MUXERS and "://" in where


class PushVideo(Sink):
    """Pushes frames with their labels drawn over them to a server, as H.264 or HEVC with as little delay as it takes.

    The server always gets the newest frame; while it is slow or gone, older ones are dropped and counted. One that is
    lost is looked for until it is found. A file is pushed at the speed at which it plays.

    Args:
        address: rtsp, rtsps, rtmp, rtmps or udp.
        source: where the frames come from; it tells size and rate.
        drawing: how to draw the labels.
        patience: with the server.
        coding: what is asked of the encoder.

    Raises:
        MediaError: the address is another one, or the server cannot be reached.
    """

    in_main_thread = False

    def __init__(
        self,
        address: str,
        source: FrameSource,
        drawing: Drawing,
        patience: Patience = _USUAL,
        coding: Coding = _ANY_CODING,
    ) -> None:
        self.name, self._drawing, self._pace = public(address), drawing, Pace(source.live)
        if not is_push_address(address):
            raise MediaError(f"{self.name}: expected an address that begins with {', '.join(MUXERS)}")
        muxer = MUXERS[str(scheme(address))]
        rate = str(source.rate or FALLBACK_RATE)
        order = Order(address, muxer.name, dict(muxer.options), source.size, rate, patience.timeout, coding)
        self._publisher = Publisher(order, Backoff(patience.interval, patience.attempts))

    def draw(self, labelled: Labelled) -> Picture:
        return Picture(self._drawing(host_pixels(labelled), host_labels(labelled)), labelled.frame.time)

    def write(self, drawn: Picture) -> None:
        self._publisher.put(drawn._replace(time=self._pace.hold(drawn.time)))

    def close(self) -> None:
        self._publisher.close()

    @property
    def delivered(self) -> int:
        """Frames that the server got."""
        return self._publisher.delivered

    @property
    def dropped(self) -> int:
        """Frames that it did not get, for want of time or of a connection."""
        return self._publisher.dropped

    @property
    def reconnections(self) -> int:
        """How often the server was lost and found."""
        return self._publisher.reconnections

    @property
    def notes(self) -> list[str]:
        """A line about what was lost, if anything was."""
        lost = {"frames dropped": self.dropped, "reconnections": self.reconnections}
        told = [f"{count} {what}" for what, count in lost.items() if count]
        return [f"{self.name}: {', '.join(told)}"] if told else []
