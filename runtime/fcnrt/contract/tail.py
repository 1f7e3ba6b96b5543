"""The tail: how a network's scores become labels, which the file says and the runtime does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from .validation import one_of, whole

MAX_TAIL = 4096  # strides, offsets and minimum sizes beyond this are no FCN's
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


def parse_tail(value: Any) -> Tail:
    """A tail as JSON gives it; raises KeyError, TypeError or ValueError."""
    kind = one_of(*get_args(TailKind))(value["kind"])
    least_stride = 1 if kind == "deconv" else 0
    return Tail(kind, whole(least_stride, MAX_TAIL)(value["stride"]), whole(0, MAX_TAIL)(value["offset"]))
