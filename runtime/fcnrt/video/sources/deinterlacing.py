"""Interlaced video, whose frames hold two moments in turn, as frames of one moment each."""

from __future__ import annotations

from typing import Any, Literal

from .filters import FilterGraph

Deinterlace = Literal["auto", "on", "off"]
DEINTERLACE: tuple[Deinterlace, ...] = ("auto", "on", "off")


class Deinterlacer:
    """Passes frames on, and from the first interlaced one on through FFmpeg's bwdif, which holds one back.

    Args:
        mode: "auto" goes by what the stream says of each frame, "on" takes all for interlaced, "off" none.

    Attributes:
        found: whether anything was deinterlaced.
    """

    def __init__(self, mode: Deinterlace) -> None:
        self._mode, self.found = mode, mode == "on"
        which = "all" if mode == "on" else "interlaced"
        self._graph = FilterGraph([("bwdif", {"mode": "send_frame", "parity": "auto", "deint": which})])

    def __call__(self, frame: Any) -> list[Any]:
        """The frames that are ready when this one comes."""
        self.found = self.found or (self._mode == "auto" and frame.interlaced_frame)
        return self._graph(frame) if self.found else [frame]

    def flush(self) -> list[Any]:
        """The frame that is still held back."""
        return self._graph.flush()
