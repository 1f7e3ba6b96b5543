"""A file's audio beside the video that is made of it: copied packet by packet, not encoded again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..av_container import USUAL_RATE, may_restart, nominal_rate, open_container, pyav, video_stream
from ..clock import Clock
from .av_encoders import Container

_PATIENCE_S = 10.0


def has_audio(path: str | Path) -> bool:
    """Whether a file has an audio track; raises MediaError where it cannot be read."""
    with open_container(str(path), _PATIENCE_S, {}, None) as container:
        return bool(container.streams.audio)


class AudioCopy:
    """An audio track of a file, on its way into another.

    Args:
        path: a file with video and audio; time 0 is its first frame of video.
        container: that it goes to.
        track: which of the file's audio tracks, from 0 up.

    Attributes:
        tracks: how many audio tracks the file has.
        codec: what FFmpeg calls the track's encoding; None where there is no such track, or its encoding is unknown.
        trouble: why the rest of the audio is missing, in one line, or None.

    Raises:
        MediaError: it cannot be read.
    """

    def __init__(self, path: str | Path, container: Container, track: int = 0) -> None:
        self._errors, self._container = pyav().FFmpegError, container
        self.path, self.track = path, track
        self.trouble: str | None = None
        start = _video_start(str(path))
        self._input = open_container(str(path), _PATIENCE_S, {}, None)
        streams = self._input.streams.audio
        self.tracks = len(streams)
        self._stream: Any = streams[track] if track < len(streams) else None
        self._timeline = _Timeline(self._input, start, str(path))
        context = self._stream and self._stream.codec_context
        self.codec: str | None = context.name if context else None
        self._last_dts: int | None = None

    def add_to(self, output: Any) -> None:
        """Add the track to a container that is being opened; raises ValueError where that cannot hold its codec."""
        if self.codec is None:
            raise ValueError("unknown codec")
        self._output = output
        self._track = output.add_stream_from_template(self._stream)
        self._packets = self._unpacked(self._timeline.audio(self._stream))
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

    def _unpacked(self, packets: Iterator[Any]) -> Iterator[Any]:
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
                if self._in_time(packet):
                    return packet
        except self._errors as error:
            self.trouble = str(error.strerror)
        return None

    def _in_time(self, packet: Any) -> bool:
        """Whether a packet lies neither before the start nor before another."""
        # A packet that reaches up to time 0, or over it, is what decoders start up on.
        first = -(packet.duration or 0) if self._container.edits else 0
        in_time = packet.pts >= first and (self._last_dts is None or packet.dts > self._last_dts)
        if in_time:
            self._last_dts = packet.dts
        return in_time


class _Timeline:
    """Moves audio packets to the time of the video, which goes on where recordings were joined end to end."""

    def __init__(self, container: Any, start: Fraction, name: str) -> None:
        self._input, self._start = container, start
        self._video = video_stream(container, name)
        self._clock = Clock(1 / (nominal_rate(self._video) or USUAL_RATE), may_restart(container))
        self._clock.tell(start)
        self._previous: Fraction | None = None  # the offset before the last joint, until audio has passed that, too
        self._expected = Fraction(0)  # when the next audio should be heard
        self._held: list[Any] = []  # audio that jumped before the video did

    def audio(self, stream: Any) -> Iterator[Any]:
        """The packets of an audio track with both times."""
        for packet in self._input.demux([self._video, stream]):
            if packet.dts is None or packet.pts is None:
                continue
            if packet.stream_index == self._video.index:
                yield from self._released(packet.pts * packet.time_base)
            elif self._previous is None and self._clock.restarts_at(self._now(packet), self._expected):
                self._held.append(packet)
            else:
                yield self._moved(packet)

    def _released(self, video_seconds: Fraction) -> Iterator[Any]:
        """Held audio, where the video has jumped as well, or has come to where the audio went on after a gap."""
        before = self._clock.offset
        if before == -self._start and video_seconds < self._start:
            return  # nothing can be decoded of it
        shown = self._clock.tell(video_seconds)
        if self._clock.offset != before:
            self._previous = before
        elif not self._held or not self._expected <= self._now(self._held[0]) <= shown:
            return
        held, self._held = self._held, []
        yield from map(self._moved, held)

    def _moved(self, packet: Any) -> Any:
        seconds = packet.pts * packet.time_base
        shown = self._shown(packet)
        shift = round((shown - seconds) / packet.time_base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        self._expected = shown + (packet.duration or 0) * packet.time_base
        return packet

    def _now(self, packet: Any) -> Fraction:
        """When audio is to be heard, by the offset that the video has now."""
        return Fraction(packet.pts * packet.time_base + (self._clock.offset or 0))

    def _shown(self, packet: Any) -> Fraction:
        """When audio is to be heard, by the offset after the last joint or that before it, as it fits."""
        now = self._now(packet)
        if self._previous is None:
            return now
        before = packet.pts * packet.time_base + self._previous
        if abs(now - self._expected) > abs(before - self._expected):
            return Fraction(before)
        self._previous = None
        return now


def _video_start(path: str) -> Fraction:
    """When the first frame that can be decoded is shown, in seconds of the file."""
    with open_container(path, _PATIENCE_S, {}, None) as container:
        for packet in container.demux(video_stream(container, path)):
            with contextlib.suppress(pyav().FFmpegError):
                for frame in packet.decode():
                    return Fraction(0) if frame.pts is None else Fraction(frame.pts * frame.time_base)
    return Fraction(0)
