"""A sink that keeps the newest labelled frame, and figures, for whoever asks for them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ...contract.types import UInt8Array
from ...pictures.drawing import Drawing
from ...video.frames import FrameSource, Labelled, Sink
from ...video.shares import Shares, class_shares
from ...video.sinks.pace import Pace
from ...video.statistics import Statistics
from .shares import MinuteOfShares
from .snapshot import Snapshot

_RATE_S = 5.0  # over which frames per second are counted


class LiveStream(Sink):
    """Keeps the newest labelled frame for a `LiveServer`; nobody who watches holds it up.

    Args:
        source: where the frames come from; a file is shown at the speed at which it plays.
        drawing: how to draw the labels.
        classes: their names, in label order.
        palette: (count, 3) uint8, RGB, a colour for every label.
        told: the numbers of the classes that are listed; None for all.

    Attributes:
        newest: the newest frame as files, or None before the first.
        ended: whether no other comes.
        announce: is called, from the thread that writes, when there is something new.
    """

    in_main_thread = False

    def __init__(
        self,
        source: FrameSource,
        drawing: Drawing,
        classes: Sequence[str],
        palette: UInt8Array,
        told: Sequence[int] | None = None,
    ) -> None:
        self.name, self.newest, self.ended = source.name, None, False
        self.announce: Callable[[], object] = lambda: None
        self._drawing, self._classes, self._palette = drawing, tuple(classes), palette
        self._told = range(len(classes)) if told is None else told
        self._pace, self._counting = Pace(source.live), threading.Lock()
        self._minute, self._shares = MinuteOfShares(len(classes)), np.zeros(len(classes))
        self._arrivals: deque[float] = deque([time.monotonic()])
        self._statistics: Callable[[], Statistics] | None = None

    newest: Snapshot | None

    def observe(self, statistics: Callable[[], Statistics]) -> None:
        """Show the drops and faults of a pipeline too."""
        self._statistics = statistics

    def draw(self, labelled: Labelled) -> tuple[Snapshot, Shares]:
        snapshot = Snapshot(labelled, self._drawing, self._palette)
        return snapshot, class_shares(snapshot.labels, len(self._classes))

    def write(self, drawn: tuple[Snapshot, Shares]) -> None:
        snapshot, shares = drawn
        self._pace.hold(snapshot.frame.time)
        with self._counting:
            self.newest, self._shares = snapshot, shares
            self._minute.add(shares)
            self._arrivals.append(time.monotonic())
        self.announce()

    def close(self) -> None:
        self.ended = True
        self.announce()

    @property
    def figures(self) -> dict[str, Any]:
        """What /stats.json says; docs/live-video.md explains each."""
        with self._counting:
            return {
                "input": self.name,
                "ended": self.ended,
                "frame": self._frame(),
                "rate": round(self._rate(), 2),
                "frames": self._frames(),
                "faults": dict(self._statistics().faults) if self._statistics else {},
                "minute": {"frames": self._minute.frames},
                "classes": self._legend(),
            }

    def _frame(self) -> dict[str, Any] | None:
        if self.newest is None:
            return None
        frame, (height, width) = self.newest.frame, self.newest.labels.shape
        return {
            "number": frame.number,
            "time_s": float(Fraction(frame.time)),
            "age_ms": round(1000 * (time.monotonic() - frame.decoded_at)),
            "height": height,
            "width": width,
        }

    def _frames(self) -> dict[str, int]:
        if self._statistics is None:
            return {}
        statistics = self._statistics()
        return {name: getattr(statistics, name) for name in ("decoded", "labelled", "delivered", "dropped")}

    def _rate(self) -> float:
        """Frames per second, of the last seconds."""
        now = time.monotonic()
        while len(self._arrivals) > 1 and self._arrivals[0] < now - _RATE_S:
            self._arrivals.popleft()
        since = self._arrivals[0]
        return (len(self._arrivals) - 1) / max(now - since, 1e-3) if since > now - _RATE_S - 1 else 0.0

    def _legend(self) -> list[dict[str, Any]]:
        minute = self._minute.mean
        return [
            {
                "name": self._classes[index],
                "color": "#{:02x}{:02x}{:02x}".format(*self._palette[index].tolist()),
                "share": float(self._shares[index]),
                "minute": float(minute[index]),
            }
            for index in self._told
        ]
