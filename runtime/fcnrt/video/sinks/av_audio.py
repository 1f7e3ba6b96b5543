"""A file's audio beside the video that is made of it: copied packet by packet, not encoded again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..av_container import open_container, pyav, video_stream
from .av_encoders import Container

_PATIENCE_S = 10.0


class AudioCopy:
    """The first audio track of a file, on its way into another.

    Args:
        path: a file with video and audio; time 0 is its first frame of video.
        container: that it goes to.

    Attributes:
        codec: what FFmpeg calls the audio's encoding; None where there is no audio.
        trouble: why the rest of the audio is missing, in one line, or None.

    Raises:
        MediaError: it cannot be read.
    """

    def __init__(self, path: str | Path, container: Container) -> None:
        self._errors, self._container = pyav().FFmpegError, container
        self.trouble: str | None = None
        self._start = _video_start(str(path))
        self._input = open_container(str(path), _PATIENCE_S, {}, None)
        self._stream: Any = next(iter(self._input.streams.audio), None)
        self.codec: str | None = self._stream.codec_context.name if self._stream else None
        self._last_dts: int | None = None

    def add_to(self, output: Any) -> None:
        """Add the track to a container that is being opened; raises ValueError where that cannot hold its codec."""
        self._output = output
        self._track = output.add_stream_from_template(self._stream)
        self._packets = self._demux()
        self._packet = self._next()

    def copy_until(self, end: Fraction) -> None:
        """Copy what begins before `end`, in seconds of the video."""
        try:
            while self._packet is not None and self._packet.dts * self._packet.time_base < end:
                self._packet.stream = self._track
                self._output.mux(self._packet)
                self._packet = self._next()
        # A packet that the container refuses; on a full disk the video fails next.
        except self._errors as error:
            self._packet, self.trouble = None, str(error.strerror)

    def close(self) -> None:
        self._input.close()

    def _demux(self) -> Iterator[Any]:
        packets: Iterator[Any] = self._input.demux(self._stream)
        if self.codec != "aac" or self._stream.codec_context.extradata or not self._container.edits:
            return packets
        # Broadcasts repeat with each packet what files say once. FFmpeg mends that itself where no head is delayed.
        from av.bitstream import BitStreamFilterContext

        unpacked = BitStreamFilterContext("aac_adtstoasc", in_stream=self._stream)
        return (packet for packed in packets if packed.size for packet in unpacked.filter(packed))

    def _next(self) -> Any:
        """The next packet that can be written, in time of the video; None at the end."""
        try:
            for packet in self._packets:
                if packet.dts is not None and packet.pts is not None and self._shifted(packet):
                    return packet
        except self._errors as error:
            self.trouble = str(error.strerror)
        return None

    def _shifted(self, packet: Any) -> bool:
        """Shift a packet to the time of the video; False where it lies before the start or before another."""
        shift = round(self._start / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        # A packet that reaches up to time 0, or over it, is what decoders start up on.
        first = -(packet.duration or 0) if self._container.edits else 0
        in_time = packet.pts >= first and (self._last_dts is None or packet.dts > self._last_dts)
        if in_time:
            self._last_dts = packet.dts
        return in_time


def _video_start(path: str) -> Fraction:
    """When the first frame that can be decoded is shown, in seconds of the file."""
    with open_container(path, _PATIENCE_S, {}, None) as container:
        for packet in container.demux(video_stream(container, path)):
            with contextlib.suppress(pyav().FFmpegError):
                for frame in packet.decode():
                    return Fraction(0) if frame.pts is None else Fraction(frame.pts * frame.time_base)
    return Fraction(0)
