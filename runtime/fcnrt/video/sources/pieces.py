"""Films in pieces that begin with key frames: the frames of all pieces, one after the other, are those of the film."""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import MediaError
from ..addresses import is_stream
from ..av_container import open_container, pyav, video_stream
from .av_claims import Claim
from .av_reader import AvReader

_PATIENCE_S = 10.0
_LONGEST_HOLD_S = 60  # a picture that stands for longer is repeated by writers of films: no place for a cut


class Piece(NamedTuple):
    """A part of a film, in numbers alone. Times are in ticks of its stream, as the container has them.

    Attributes:
        first: the number of its first frame in the film.
        frames: how many there are.
        tick: numerator and denominator of a second.
        origin: when the film's first frame is shown.
        begins: when its first frame is shown, a key frame but in the first piece.
        seek: where to look for that; None in the first piece, which is read from the beginning of the file.
        nbytes: of that frame's packet.
        ends: when the next piece begins; None where the film ends.
        packets: to be decoded from there on. They hold the next piece's first ones, too, where frames that are shown
            before those depend on them.
        height, width: of all frames in pixels, upright.
    """

    first: int
    frames: int
    tick: tuple[int, int]
    origin: int
    begins: int
    seek: int | None
    nbytes: int
    ends: int | None
    packets: int
    height: int
    width: int

    @property
    def seconds(self) -> Fraction:
        """When it begins, after the film's first frame."""
        return (self.begins - self.origin) * Fraction(*self.tick)


class _Packet(NamedTuple):
    """A packet of a film: when it is shown and decoded, in ticks, and whether it is shown at all."""

    pts: int
    dts: int | None
    nbytes: int
    is_key: bool
    is_shown: bool


def divide(where: str | Path, seconds: float) -> list[Piece]:
    """Find the pieces of a film by its packets, which are not decoded.

    Args:
        where: a file.
        seconds: that a piece has at least; the last one may have half of that.

    Returns:
        the pieces, two or more; none where the film is too short, has no key frame to begin one with, or cannot be
        divided safely: packets without a time of their own, times that jump, interlaced pictures, a missing end.

    Raises:
        MediaError: it cannot be read, or is no film.
        MissingDependency: PyAV is not installed.
    """
    if is_stream(str(where)):
        return []
    with _Scout(where) as scout:
        return scout.pieces(str(where), seconds)


class _Scout(AvReader):
    """Knows the first frame of a film."""

    def pieces(self, where: str, seconds: float) -> list[Piece]:
        """As `divide` has them."""
        packets, offset, tick = _listed(where), self._clock.offset, self._stream.time_base
        if offset is None or self.faults or self._deinterlacer.found:
            return []
        origin = round(-offset / tick)
        shown = sorted(packet.pts for packet in packets if packet.is_shown and packet.pts >= origin)
        if len(set(shown)) < len(shown) or not self._goes_on_evenly(shown):
            return []
        cuts = _cuts(packets, origin, round(seconds / tick), round(_LONGEST_HOLD_S / tick))
        return _between(packets, cuts, shown, tick.as_integer_ratio(), self.size) if cuts else []

    def _goes_on_evenly(self, shown: Sequence[int]) -> bool:
        """Whether these times are taken as they are, none of them for that of another recording."""
        offset, tick = self._clock.offset or 0, self._stream.time_base
        return all(self._clock.tell(pts * tick) == pts * tick + offset for pts in shown)


def _listed(where: str) -> list[_Packet]:
    """The packets of the video in the order of the file; none where one of them is not as it should be."""
    found = []
    with open_container(where, _PATIENCE_S, {}, None) as container:
        stream = video_stream(container, where)
        claim = Claim(container, stream, None)
        try:
            for packet in container.demux():
                claim.note(packet)
                if packet.stream_index == stream.index and packet.size:
                    if packet.pts is None or packet.is_corrupt:
                        return []
                    shown = not packet.is_discard
                    found.append(_Packet(packet.pts, packet.dts, packet.size, packet.is_keyframe, shown))
        except (pyav().error.FFmpegError, IndexError):
            return []
    return [] if claim.ends_early else found


def _cuts(packets: Sequence[_Packet], origin: int, length: int, longest_hold: int) -> list[int]:
    """Where pieces may begin, as positions among the packets, each at least a length behind the one before."""
    cuts, begins = [], origin
    newest = accumulate((packet.pts for packet in packets), max, initial=origin)  # shown before each packet
    last = max(packet.pts for packet in packets) if packets else origin
    for position, (packet, before) in enumerate(zip(packets, newest, strict=False)):
        far_enough = packet.pts - begins >= length and last - packet.pts >= length / 2
        if packet.is_key and packet.is_shown and far_enough and 0 < packet.pts - before <= longest_hold:
            cuts.append(position)
            begins = packet.pts
    return cuts


def _between(
    packets: Sequence[_Packet],
    cuts: Sequence[int],
    shown: Sequence[int],
    tick: tuple[int, int],
    size: tuple[int, int],
) -> list[Piece]:
    """The pieces between the beginning, the cuts and the end."""
    origin, pieces = shown[0], list[Piece]()
    for position, following in zip((0, *cuts), (*cuts, None), strict=True):
        begin = packets[position]
        begins = begin.pts if position else origin
        ends = None if following is None else packets[following].pts
        count = bisect_left(shown, math.inf if ends is None else ends) - bisect_left(shown, begins)
        needed = _last_before(packets, ends, position) + 1 - position
        seek = (begin.pts if begin.dts is None else begin.dts) if position else None
        first = sum(piece.frames for piece in pieces)
        pieces.append(Piece(first, count, tick, origin, begins, seek, begin.nbytes, ends, needed, *size))
    return pieces


def _last_before(packets: Sequence[_Packet], ends: int | None, position: int) -> int:
    """The position of the last packet, from one on, that is shown before a time."""
    if ends is None:
        return len(packets) - 1
    return max(index for index in range(position, len(packets)) if packets[index].pts < ends)


class PieceReader(AvReader):
    """Reads a piece of a film: its frames have the numbers and times that they have in the film.

    Args:
        where: the file.
        piece: one of those that `divide` found in it.

    Raises:
        MediaError: as `AvReader`; and where the piece is not as it was expected: damaged, interlaced, in other sizes.
            The film is then to be read as a whole.
        MissingDependency: PyAV is not installed.
    """

    def __init__(self, where: str | Path, piece: Piece) -> None:
        self._piece = piece
        super().__init__(where)
        self.frame_count = piece.frames

    def _describe(self) -> None:
        super()._describe()
        tick = self._stream.time_base
        self._clock.go_on(-self._piece.origin * tick, self._piece.seconds)

    def _describe_pictures(self, frame: Any) -> None:
        super()._describe_pictures(frame)
        self._number = self._piece.first

    def _decoded(self) -> Iterator[Any]:
        """The frames that are this piece's; raises MediaError behind the last one where they are not all there."""
        count, last = 0, self._piece.begins - 1
        for packet in chain(self._packets(), (None,)):
            for frame in self._frames_of(packet):
                if not self._is_own(frame):
                    continue
                if not count:
                    self.faults.clear()  # those of frames before it, which need some that were not decoded
                self._expect(not (self.faults or frame.is_corrupt), "damaged pictures")
                self._expect(not frame.interlaced_frame, "interlaced pictures")
                self._expect(frame.pts > last, "pictures out of order")
                count, last = count + 1, frame.pts
                yield frame
        self._expect(not self.faults, "damaged pictures")
        self._expect(count == self._piece.frames, f"{count} pictures in place of {self._piece.frames}")

    def _is_own(self, frame: Any) -> bool:
        ends = self._piece.ends
        return frame.pts is not None and frame.pts >= self._piece.begins and (ends is None or frame.pts < ends)

    def _converted(self, frame: Any) -> Any:
        pixels = super()._converted(frame)
        self._expect(self._pixels.size(pixels) == (self._piece.height, self._piece.width), "pictures of several sizes")
        return pixels

    def _packets(self) -> Iterator[Any]:
        return islice(self._from_first_on(), self._piece.packets)

    def _from_first_on(self) -> Iterator[Any]:
        if self._piece.seek is None:
            return self._own_packets()
        # Where the container's index is none, or not exact, from the beginning.
        for ticks in (self._piece.seek, self._stream.start_time or 0):
            self._seek(ticks)
            packets = self._own_packets()
            for packet in packets:
                if (packet.pts, packet.size) == (self._piece.begins, self._piece.nbytes):
                    return chain((packet,), packets)
                if self._is_behind(packet):
                    break
        raise MediaError(f"{self.name}: cannot be divided: pictures that cannot be found again")

    def _own_packets(self) -> Iterator[Any]:
        return (packet for packet in super()._packets() if packet.stream_index == self._stream.index and packet.size)

    def _seek(self, ticks: int) -> None:
        for stream in self._container.streams:
            if stream is not self._stream:
                stream.discard = pyav().stream.Discard.all
        with contextlib.suppress(pyav().error.FFmpegError):  # it cannot be sought in: it is read from where it is
            self._container.seek(ticks, stream=self._stream)

    def _is_behind(self, packet: Any) -> bool:
        return packet.dts is not None and packet.dts > max(self._piece.begins, self._piece.seek or 0)

    def _expect(self, holds: bool, instead: str) -> None:
        if not holds:
            raise MediaError(f"{self.name}: cannot be divided: {instead}")
