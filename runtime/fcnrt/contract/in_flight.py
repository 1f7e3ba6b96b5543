"""Frames that are submitted ahead of their turn, and handed out in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import FcnrtError
from .types import Array

AHEAD = 1 << 28  # bytes of frames in flight; one that is larger goes alone

Item = TypeVar("Item")


def nothing() -> None:
    """Wait for nothing."""


@dataclass(frozen=True)
class Submitted(Generic[Item]):
    """A frame in flight.

    Attributes:
        item: that it belongs to.
        labels: waits for its labels, or raises what was wrong with it.
        end: waits until nobody works on it any more.
        nbytes: of the frame; infinite for one that is to go alone.
    """

    item: Item
    labels: Callable[[], Array]
    end: Callable[[], object] = nothing
    nbytes: float = 0


def in_order(
    items: Iterable[Item], submit: Callable[[Item], Submitted[Item]], depth: int
) -> Generator[Submitted[Item], None, None]:
    """Submit items, at most `depth` ahead and fewer where frames are large, and yield them in their order.

    At the end, whatever brought it about, nobody works on any of them.

    Raises:
        Any error of `items` itself: after the items before it were yielded.
    """
    in_flight: deque[Submitted[Item]] = deque()
    source, failure = iter(items), None
    try:
        while True:
            try:
                item = next(source)
            except Exception as error:  # StopIteration too: first the frames in flight, then the end
                failure = error
                break
            in_flight.append(submit(item))
            while in_flight and (len(in_flight) >= depth or sum(frame.nbytes for frame in in_flight) > AHEAD):
                yield in_flight[0]
                in_flight.popleft()
        while in_flight:
            yield in_flight[0]
            in_flight.popleft()
        if not isinstance(failure, StopIteration):
            raise failure
    finally:
        for frame in in_flight:  # their arrays are still being written to
            with suppress(FcnrtError):
                frame.end()
