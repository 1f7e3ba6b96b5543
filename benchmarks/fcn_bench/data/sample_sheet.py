"""Samples as a picture: frame, classes, both, beside each other, with the names below."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fcnrt.contract.types import UInt8Array
from fcnrt.pictures.legends import legend
from fcnrt.pictures.palette import overlay

from ..metrics import VOID
from .datasets import DataSet, Sample
from .stated import colour_table

SHOWN = 3
WIDTH_PX, GAP_PX, FONT_PX = 400, 6, 16  # of each picture
VOID_COLOUR = (255, 255, 255)


def sample_sheet(data: DataSet) -> UInt8Array:
    """Draw a few samples, from the first to the last, void in white.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    palette = colour_table(data.palette, len(data.classes))
    chosen = np.linspace(0, len(data) - 1, min(SHOWN, len(data))).round().astype(int)
    rows = [_row(data[int(index)], palette) for index in chosen]
    names = legend(data.classes, palette, FONT_PX, columns=min(len(data.classes), 6))
    width = max(part.shape[1] for part in (*rows, names))
    return np.vstack([_padded(part, width) for part in (*rows, names)])


def _row(sample: Sample, palette: UInt8Array) -> UInt8Array:
    height = round(WIDTH_PX * sample.frame_hwc.shape[0] / sample.frame_hwc.shape[1])
    frame = _resized(sample.frame_hwc, height, Image.Resampling.BILINEAR)
    labels = _resized(sample.labels_hw, height, Image.Resampling.NEAREST)
    with_void = np.vstack([palette, np.full((VOID + 1 - len(palette), 3), VOID_COLOUR, np.uint8)])
    return np.hstack([frame, with_void[labels], overlay(frame, labels, with_void)])


def _resized(picture: UInt8Array, height: int, method: Image.Resampling) -> UInt8Array:
    return np.asarray(Image.fromarray(picture).resize((WIDTH_PX, height), method))


def _padded(picture: UInt8Array, width: int) -> UInt8Array:
    right = ((0, GAP_PX), (0, width - picture.shape[1]), (0, 0))
    return np.pad(picture, right, constant_values=255)
