"""How a frame gets its labels: as a whole or within a region, with or without the network's confidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from ..contract.types import void_label
from ..errors import FrameError
from ..segmenter import Segmenter
from .frames import Frame, Labelled
from .region import Region


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

    def _pixels(self, frame: Frame) -> Any:
        return self.region.cut(frame.pixels) if self.region else frame.pixels

    def _labelled(self, frame: Frame, labels: Any) -> Labelled:
        return Labelled(frame, self._whole(frame, labels))

    def _whole(self, frame: Frame, part: Any) -> Any:
        return self.region.embed(part, frame.pixels.shape[:2]) if self.region else part
