"""How a frame gets its labels: as a whole or within a region, with or without the network's confidence."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ..contract.types import void_label
from ..errors import FrameError
from ..segmenter import Segmenter
from .frames import Frame, Labelled
from .region import Region


class HasFrame(Protocol):
    """Something that a frame belongs to."""

    @property
    def frame(self) -> Frame: ...


Item = TypeVar("Item", bound=HasFrame)


class Labelling(NamedTuple):
    """What is made of each frame.

    Attributes:
        region: the part that is labelled, the rest being void: 255, or 65535 where labels are uint16. None: all of it.
        confidence: whether the probability of each label is computed; frames then go through the engine one by one.
    """

    region: Region | None = None
    confidence: bool = False

    def check(self, segmenter: Segmenter) -> None:
        """Raise FrameError where a class of a model has the number that void has."""
        count = len(segmenter.classes)
        if self.region and count > void_label(np.uint8) and count in (256, 65536):
            raise FrameError(f"region: expected a model that leaves a label for void, got one of {count} classes")

    def label(self, segmenter: Segmenter, frame: Frame) -> Labelled:
        """Label one frame; raises what the Segmenter raises, and FrameError where the region is not within it."""
        pixels = self._pixels(frame)
        if not self.confidence:
            return self._labelled(frame, segmenter(pixels))
        confidence = np.empty(pixels.shape[:2], np.uint8)
        labels = segmenter(pixels, confidence=confidence)
        labelled = self._labelled(frame, labels)
        labelled.confidence = self._whole(frame, confidence)
        return labelled

    def stream(self, segmenter: Segmenter, frames: Iterable[Frame], in_flight: int) -> Iterator[Labelled]:
        """Label frames in order, several in flight where the engine works on several."""
        if self.confidence:
            for frame in frames:
                yield self.label(segmenter, frame)
            return
        with closing(segmenter.stream(frames, in_flight, pixels=self._pixels)) as results:
            for frame, labels in results:
                yield self._labelled(frame, labels)

    def each(
        self, segmenter: Segmenter, items: Iterable[Item], depth: int
    ) -> Generator[tuple[Item, Callable[[], Labelled]], None, None]:
        """Label the `frame` of each item in order, several in flight where the engine works on several.

        Yields:
            (item, a function) as `Segmenter.each`. What getting the frame raises is raised by the function, too; where
            confidence is computed, it is only got then.
        """
        if self.confidence:
            yield from ((item, partial(self._label_frame_of, segmenter, item)) for item in items)
            return
        with closing(segmenter.each(items, depth, pixels=self._pixels_of)) as results:
            for item, labels in results:
                yield item, partial(self._labelled_frame_of, item, labels)

    def _pixels_of(self, item: HasFrame) -> Any:
        return self._pixels(item.frame)

    def _label_frame_of(self, segmenter: Segmenter, item: HasFrame) -> Labelled:
        return self.label(segmenter, item.frame)

    def _labelled_frame_of(self, item: HasFrame, labels: Callable[[], Any]) -> Labelled:
        return self._labelled(item.frame, labels())

    def _pixels(self, frame: Frame) -> Any:
        return self.region.cut(frame.pixels) if self.region else frame.pixels

    def _labelled(self, frame: Frame, labels: Any) -> Labelled:
        return Labelled(frame, self._whole(frame, labels))

    def _whole(self, frame: Frame, part: Any) -> Any:
        return self.region.embed(part, frame.pixels.shape[:2]) if self.region else part
