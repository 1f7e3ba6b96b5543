"""The tail: how a network's scores become labels, which the file says and the runtime does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import ModelFileError
from .validation import one_of, whole

MAX_TAIL = 4096  # strides, offsets and minimum sizes beyond this are no FCN's
_WHOLE = 32  # pixels of which networks without a tail make whole multiples
TailKind = Literal["half_pixel", "align_corners", "deconv", "none"]


@dataclass(frozen=True)
class Tail:
    """How `scores` (N, C, h, w) become full-size logits (N, C, H, W): the last upsampling of the network.

    Source coordinate of output row y (columns alike), samples outside [0, h-1] taken from the border:

    - ``half_pixel``     (y + 1/2) * h / H - 1/2                 (torch: align_corners=False)
    - ``align_corners``  y * (h - 1) / (H - 1), 0 when H is 1    (torch: align_corners=True)
    - ``deconv``         (y + offset + 1/2) / stride - 1         (bilinear transposed convolution, kernel 2 * stride,
      cropped at `offset`; its zero border scales all classes alike, so the labels are the border's)
    - ``none``           the scores are full size; the frame begins at row and column `offset`, the rest is surplus
    """

    kind: TailKind
    stride: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"the tail {self.kind}, stride {self.stride}, offset {self.offset}"


def parse_tail(value: Any) -> Tail:
    """A tail as JSON gives it; raises KeyError, TypeError or ValueError."""
    kind = one_of(*get_args(TailKind))(value["kind"])
    least_stride = 1 if kind == "deconv" else 0
    return Tail(kind, whole(least_stride, MAX_TAIL)(value["stride"]), whole(0, MAX_TAIL)(value["offset"]))


def check_geometry(tail: Tail, classes: int, scores: Sequence[int], frames: Sequence[int], source: str) -> None:
    """Raise ModelFileError where scores cannot be what a tail makes labels of.

    Args:
        tail: that the file says.
        classes: that the file names.
        scores: (N, C, h, w) that its graph or engine gives.
        frames: (N, H, W) that the network saw.
        source: the file's name.
    """
    sizes = zip(scores[2:], frames[1:], strict=True)
    if scores[1] != classes or not all(_fits(tail, samples, pixels) for samples, pixels in sizes):
        shapes = [" x ".join(map(str, shape[1:])) for shape in (frames, scores)]
        raise ModelFileError(
            f"{source}: says {classes} classes and {tail}, but for frames of {shapes[0]} its scores are {shapes[1]}; "
            "its facts are another file's, make it again"
        )


def _fits(tail: Tail, samples: int, pixels: int) -> bool:
    """Whether an axis has the samples that its pixels need, and not many more than padding explains."""
    if tail.kind == "none":
        return 0 <= samples - tail.offset - pixels <= 2 * (tail.offset + _WHOLE)
    if tail.kind == "deconv":
        surplus = (samples + 1) * tail.stride - tail.offset - pixels
        return 0 <= surplus <= 2 * (tail.offset + tail.stride)
    return 1 <= samples <= pixels
