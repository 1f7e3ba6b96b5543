"""Whether a file ended where its header says that it ends."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

_TOLERATED_S, _TOLERATED_SHARE = Fraction(1), Fraction(2, 100)
_ROUNDING_S = Fraction(2, 1000)  # Matroska keeps milliseconds
_MICROSECONDS = 1_000_000  # AV_TIME_BASE

# Their headers say how long they are. Of other formats FFmpeg estimates it.
_CLAIMING = {"mov", "matroska", "avi", "flv"}

_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")  # Matroska's, of a single stream


class Claim:
    """Compares the length that a container claims with the packets that came.

    What is said of the video itself counts; else the end of all streams, less strictly, as sound is often longer.

    Args:
        container: PyAV's, just opened.
        stream: its video.
        rate: frames per second, where the stream has no average.

    Attributes:
        frame_count: how many frames it claims to have, or None.
    """

    def __init__(self, container: Any, stream: Any, rate: Fraction | None) -> None:
        self._stream, self._cut_off = stream, False
        start, end = _claimed(stream)
        whole = Fraction(container.duration or 0, _MICROSECONDS)
        self._all_streams = end is None
        end = whole if end is None else end
        seconds = max(Fraction(0), end - start)
        self._end = end if _CLAIMING & set(container.format.name.split(",")) else Fraction(0)
        vague = self._all_streams and len(container.streams) > 1
        self._tolerated = _TOLERATED_S if vague else min(_TOLERATED_S, _TOLERATED_SHARE * seconds)
        self._seen_end, self._previous, self._longest = Fraction(0), start, Fraction(0)
        # Not `stream.frames` first: it counts frames that an edit list hides, and of fragments the first one's only.
        self.frame_count = round(seconds * (stream.average_rate or rate or 0)) or stream.frames or None

    def note(self, packet: Any) -> None:
        """Take account of a packet, of the video or of another stream."""
        own = packet.stream_index == self._stream.index
        time = packet.dts if packet.pts is None else packet.pts
        if time is None or not (own or self._all_streams):
            return
        start, length = time * packet.time_base, (packet.duration or 0) * packet.time_base
        if own:
            length = length or max(Fraction(0), start - self._previous)
            self._longest = max(self._longest, length)
            self._previous, self._cut_off = start, packet.is_corrupt
        self._seen_end = max(self._seen_end, start + length)

    @property
    def ends_early(self) -> bool:
        """Whether the file ends before the time that it claims, or within a packet."""
        return self._cut_off or self._end - self._seen_end > max(self._tolerated, self._longest / 2 + _ROUNDING_S)


def _claimed(stream: Any) -> tuple[Fraction, Fraction | None]:
    """Start and end of a stream in seconds, as it says itself."""
    start = (stream.start_time or 0) * stream.time_base
    if stream.duration:
        return start, start + stream.duration * stream.time_base
    tag = _TAG.fullmatch(stream.metadata.get("DURATION", ""))
    return start, 3600 * int(tag[1]) + 60 * int(tag[2]) + Fraction(tag[3]) if tag else None
