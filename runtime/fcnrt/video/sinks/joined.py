"""Films that were written in parts, put together packet by packet: nothing is encoded again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import MediaError, first_line
from ..av_container import nominal_rate, open_container, pyav, video_stream
from .av_file import FilmFile
from .films import FALLBACK_RATE

_PATIENCE_S = 10.0


class Part(NamedTuple):
    """A film that an `OverlayVideo` wrote, without audio, and the second of the whole at which it begins."""

    path: str
    begins: Fraction


class UnfitParts(MediaError):
    """Parts that make no film together: damaged ones, or such as are not encoded alike."""


def join_films(parts: Sequence[Part], path: str | Path, source: str) -> None:
    """Write one film of several parts, with the audio of the film that they were made of.

    Args:
        parts: in their order, from the same encoder.
        path: where to; as in `FilmFile`.
        source: the film whose frames they show. It tells rate and audio.

    Raises:
        UnfitParts: one cannot be read, or is encoded in another way.
        MediaError: the film cannot be written.
    """
    with _opened(parts[0].path) as first, _Joined(path, source, first.streams.video[0]) as joined:
        for part in parts:
            joined.add(part)


class _Joined(FilmFile):
    def __init__(self, path: str | Path, source: str, like: Any) -> None:
        with open_container(source, _PATIENCE_S, {}, None) as container:
            rate = nominal_rate(video_stream(container, source)) or FALLBACK_RATE
        super().__init__(path, rate)
        self._like, self._kind = like, _kind(like)
        self._ticks = like.time_base.denominator
        self._open(self._find_audio(source))

    def add(self, part: Part) -> None:
        """Append the packets of a part; raises as `join_films` does."""
        with _opened(part.path) as container:
            stream = container.streams.video[0]
            if _kind(stream) != self._kind:
                raise UnfitParts(f"{part.path}: encoded in another way than the parts before it")
            first = None
            for packet in self._read(container, stream, part.path):
                first = packet.pts if first is None else first
                with self._writing():
                    self._write(packet, round(part.begins * self._ticks) + packet.pts - first)

    def _add_video(self, container: Any) -> Any:
        stream = container.add_stream_from_template(self._like)
        stream.time_base = self._like.time_base
        return stream

    def _read(self, container: Any, stream: Any, name: str) -> Iterator[Any]:
        try:
            yield from (packet for packet in container.demux(stream) if packet.size)
        except self._av.FFmpegError as error:
            raise UnfitParts(f"{name}: cannot read on: {first_line(error)}") from error

    def _write(self, packet: Any, tick: int) -> None:
        packet.pts = packet.dts = self._last_tick = max(tick, self._last_tick + 1)
        packet.stream = self._stream
        self._container.mux(packet)
        if self._audio:
            self._audio.copy_until(Fraction(self._last_tick, self._ticks))


def _opened(path: str) -> Any:
    try:
        return pyav().open(os.path.abspath(path))
    except pyav().error.FFmpegError as error:
        raise UnfitParts(f"{path}: cannot open: {first_line(error)}") from error


def _kind(stream: Any) -> tuple[Any, ...]:
    """What must be the same in all parts of a film."""
    context = stream.codec_context
    return context.name, context.extradata, context.height, context.width, stream.time_base
