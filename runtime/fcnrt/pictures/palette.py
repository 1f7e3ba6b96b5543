"""Class colours, and labels drawn over the frame they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract.spec import PALETTE_NAMES
from ..contract.types import UInt8Array
from ..errors import FcnrtError, FrameError
from .generated import generated_colours

MAX_CLASSES = 65535

# The 19 classes that Cityscapes evaluates, in the order of its train ids.
CITYSCAPES: UInt8Array = np.array(
    [
        (128, 64, 128),  # road
        (244, 35, 232),  # sidewalk
        (70, 70, 70),  # building
        (102, 102, 156),  # wall
        (190, 153, 153),  # fence
        (153, 153, 153),  # pole
        (250, 170, 30),  # traffic light
        (220, 220, 0),  # traffic sign
        (107, 142, 35),  # vegetation
        (152, 251, 152),  # terrain
        (70, 130, 180),  # sky
        (220, 20, 60),  # person
        (255, 0, 0),  # rider
        (0, 0, 142),  # car
        (0, 0, 70),  # truck
        (0, 60, 100),  # bus
        (0, 80, 100),  # train
        (0, 0, 230),  # motorcycle
        (119, 11, 32),  # bicycle
    ],
    dtype=np.uint8,
)

# CamVid's own colours, in the order of the 11 classes that SegNet made of its 32.
CAMVID: UInt8Array = np.array(
    [
        (128, 128, 128),  # sky
        (128, 0, 0),  # building
        (192, 192, 128),  # pole
        (128, 64, 128),  # road
        (0, 0, 192),  # pavement
        (128, 128, 0),  # tree
        (192, 128, 128),  # sign symbol
        (64, 64, 128),  # fence
        (64, 0, 128),  # car
        (64, 64, 0),  # pedestrian
        (0, 128, 192),  # bicyclist
    ],
    dtype=np.uint8,
)

# Rows blended at a time: two 16-bit buffers of 16 rows at 1080p stay in the second-level cache.
_BAND_ROWS = 16


def voc_palette(count: int) -> UInt8Array:
    """Make the Pascal VOC palette: bit i of the class index, dealt to red, green and blue in turn.

    Args:
        count: number of colours, 1 to 65535. The first 21 are the VOC classes, index 255 is its void.

    Returns:
        (count, 3) uint8, RGB.

    Source: the colour map function of the VOC development kit.
    """
    _check_count(count)
    index = np.arange(count)
    colours = np.zeros((count, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def generated_palette(count: int) -> UInt8Array:
    """Make bright colours for any number of classes, each as far as can be from those before it.

    The first 256 are chosen one by one, the farthest in OKLab from all before, among colours that are neither
    dark nor almost white. A longer palette begins with the shorter one, and no colour repeats.

    Args:
        count: number of colours, 1 to 65535.

    Returns:
        (count, 3) uint8, RGB.
    """
    _check_count(count)
    return generated_colours(count)


def named_palette(name: str, count: int) -> UInt8Array:
    """Look up a palette by name.

    Args:
        name: "voc", "cityscapes", "camvid" or "generated".
        count: number of colours wanted, 1 to 65535.

    Returns:
        (count, 3) uint8, RGB.

    Raises:
        FcnrtError: the name is unknown, or the palette has fewer than `count` colours.
    """
    if name == "voc":
        return voc_palette(count)
    if name == "generated":
        return generated_palette(count)
    fixed = {"cityscapes": CITYSCAPES, "camvid": CAMVID}.get(name)
    if fixed is None:
        raise FcnrtError(f"palette: expected one of {', '.join(PALETTE_NAMES)}, got {name!r}")
    _check_count(count)
    if count > len(fixed):
        raise FcnrtError(
            f"palette {name!r}: expected at most {len(fixed)} classes, got {count}; use 'voc' or 'generated'"
        )
    return fixed[:count].copy()


def with_void(palette: UInt8Array) -> UInt8Array:
    """A palette that has a colour for the largest label of its type too, 255 or 65535, and black for all between.

    Args:
        palette: (count, 3) uint8, a colour for every class.

    Returns:
        (256, 3) uint8, or (65536, 3) for more than 256 classes.
    """
    missing = (256 if len(palette) <= 256 else 65536) - len(palette)
    return np.pad(palette, ((0, missing), (0, 0)))


def overlay(
    frame_hwc: UInt8Array,
    labels_hw: npt.NDArray[Any],
    palette: UInt8Array,
    alpha: float = 0.5,
    out: UInt8Array | None = None,
) -> UInt8Array:
    """Blend the colours of the labels over a frame.

    Args:
        frame_hwc: (H, W, 3) uint8.
        labels_hw: (H, W) uint8 or uint16, every value below the palette's length.
        palette: (count, 3) uint8, channels in the frame's order: `palette[:, ::-1]` for BGR frames.
        alpha: opacity of the labels in [0, 1], rounded to 1/256; 0 gives the frame, 1 the pure colours.
        out: (H, W, 3) uint8 to write into, the frame itself allowed; a new array by default.

    Returns:
        `out`: (frame * (256 - a) + colour * a + 128) // 256 with a = round(256 * alpha).

    Raises:
        FrameError: a shape, a dtype, a label or alpha is outside of the above.
    """
    _check_frame_and_labels(frame_hwc, labels_hw)
    check_palette(labels_hw, palette)
    if not 0 <= alpha <= 1:
        raise FrameError(f"alpha: expected a number in 0..1, got {alpha}")
    if out is None:
        out = np.empty(frame_hwc.shape, dtype=np.uint8)
    elif out.shape != frame_hwc.shape or out.dtype != np.uint8:
        raise FrameError(f"out: expected uint8 {frame_hwc.shape}, got {out.dtype} {out.shape}")
    _blend(frame_hwc, labels_hw, palette, round(256 * alpha), out)
    return out


def check_palette(labels_hw: npt.NDArray[Any], palette: UInt8Array) -> None:
    """Raise FrameError unless the palette is (count, 3) uint8 and has a colour for every label."""
    if palette.ndim != 2 or palette.shape[1] != 3 or palette.dtype != np.uint8 or not len(palette):
        raise FrameError(f"palette: expected uint8 (count, 3), got {palette.dtype} {palette.shape}")
    highest = int(labels_hw.max(initial=0))
    if highest >= len(palette):
        raise FrameError(f"labels: expected below {len(palette)} (the palette's length), got {highest}")


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_CLASSES:
        raise FcnrtError(f"palette: expected 1 to {MAX_CLASSES} colours, got {count}")


def _check_frame_and_labels(frame_hwc: UInt8Array, labels_hw: npt.NDArray[Any]) -> None:
    if frame_hwc.ndim != 3 or frame_hwc.shape[2] != 3 or frame_hwc.dtype != np.uint8:
        raise FrameError(f"frame: expected uint8 (H, W, 3), got {frame_hwc.dtype} {frame_hwc.shape}")
    if labels_hw.shape != frame_hwc.shape[:2] or labels_hw.dtype not in (np.uint8, np.uint16):
        expected = f"uint8 or uint16 {frame_hwc.shape[:2]} (the frame's size)"
        raise FrameError(f"labels: expected {expected}, got {labels_hw.dtype} {labels_hw.shape}")


def _blend(
    frame_hwc: UInt8Array, labels_hw: npt.NDArray[Any], palette: UInt8Array, weight: int, out: UInt8Array
) -> None:
    """Blend band by band: 255 * 256 + 128 still fits into 16 bits, so no wider type is needed."""
    height, width = labels_hw.shape
    colours = palette.astype(np.uint16) * np.uint16(weight) + np.uint16(128)
    drawn, mixed = (np.empty((min(_BAND_ROWS, height), width, 3), dtype=np.uint16) for _ in range(2))
    for top in range(0, height, _BAND_ROWS):
        band = slice(top, min(top + _BAND_ROWS, height))
        drawn, mixed = drawn[: band.stop - top], mixed[: band.stop - top]
        np.multiply(frame_hwc[band], np.uint16(256 - weight), out=mixed, dtype=np.uint16)
        # "clip" skips the copy that "raise" makes; the labels have been checked.
        np.take(colours, labels_hw[band], axis=0, out=drawn, mode="clip")
        mixed += drawn
        mixed >>= 8
        out[band] = mixed
