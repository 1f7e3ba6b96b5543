"""Shapes of frames: how they are written, and the ranges that an engine is built for."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .types import Shape
from .validation import exactly, whole

DIMENSIONS = ("batch", "height", "width")
BOUNDS = ("min", "opt", "max")
MAX_SIDE = 65535  # of a frame; as many rows as a GPU kernel is launched for


@dataclass(frozen=True)
class Profile:
    """Frames from `min` to `max`, fastest at `opt`."""

    min: Shape
    opt: Shape
    max: Shape

    @property
    def bounds(self) -> tuple[Shape, Shape, Shape]:
        return self.min, self.opt, self.max

    def takes(self, shape: Shape) -> bool:
        """Whether a shape lies between the smallest and the largest."""
        return all(low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True))

    def as_json(self) -> dict[str, list[int]]:
        """The profile as it stands in a sidecar."""
        return {name: list(shape) for name, shape in zip(BOUNDS, self.bounds, strict=True)}

    def __str__(self) -> str:
        return ":".join(shape_text(shape) for shape in self.bounds)


def shape_text(shape: Iterable[int]) -> str:
    """`(1, 720, 1280)` as command lines have it: 1x720x1280."""
    return "x".join(map(str, shape))


def parse_profile(value: Any) -> Profile:
    """A profile as JSON gives it; raises KeyError, TypeError or ValueError."""
    facts = exactly(dict)(value)
    profile = Profile(*(_shape(facts[name]) for name in BOUNDS))
    if not profile.takes(profile.opt):
        raise ValueError(f"expected min <= opt <= max, got {profile.min}, {profile.opt}, {profile.max}")
    return profile


def _shape(value: Any) -> Shape:
    if len(exactly(list)(value)) != 3:
        raise ValueError(f"expected batch, height and width, got {reprlib.repr(value)}")
    batch, height, width = map(whole(), value)
    return batch, height, width
