"""The frames on which a model is farthest from its reference, kept while they stream by, and drawn side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fcnrt.contract.types import UInt8Array

from ..data.measured_frames import Frame
from ..metrics import VOID

GAP_PX, FONT_PX = 6, 15
VOID_COLOUR = (255, 255, 255)
LOST, GAINED, OTHER = (230, 0, 0), (0, 190, 0), (240, 180, 0)


class Case(NamedTuple):
    """A frame, how bad it is, and what both made of it, labels (H, W)."""

    badness: float
    frame: Frame
    reference_hw: npt.NDArray[Any]
    labels_hw: npt.NDArray[Any]


class WorstFrames:
    """Keeps the worst cases out of any number, in memory for so many alone.

    Args:
        count: how many.
    """

    def __init__(self, count: int):
        self._count = count
        self.cases: list[Case] = []  # the worst first

    def offer(self, case: Case) -> None:
        """Keep a case if it is among the worst; one that is not bad at all, or not a number, never is."""
        if case.badness > 0:
            self.cases = sorted([*self.cases, case], key=lambda kept: -kept.badness)[: self._count]


def side_by_side(case: Case, palette: UInt8Array, captions: tuple[str, str]) -> UInt8Array:
    """Draw frame, truth, reference, model and difference beside each other, with captions.

    Args:
        palette: (C, 3) RGB.
        captions: of the model and of the difference.

    Returns:
        (H, W, 3) uint8 RGB. In the difference, equal labels show the frame in grey, and others are red where the
        reference was right and the model is not, green where it is the other way round, else yellow.
    """
    frame_hwc, truth_hw, name = case.frame
    panels = [("frame " + name, frame_hwc)]
    if truth_hw is not None:
        panels.append(("truth", coloured(truth_hw, palette)))
    panels.append(("torch float32", coloured(case.reference_hw, palette)))
    panels.append((captions[0], coloured(case.labels_hw, palette)))
    panels.append((captions[1], difference(case)))
    return _joined(panels)


def coloured(labels_hw: npt.NDArray[Any], palette: UInt8Array) -> UInt8Array:
    """Labels in their classes' colours, void and what is no class in white."""
    known = labels_hw < len(palette)
    colours = palette[np.where(known, labels_hw, 0)]
    colours[~known | ((labels_hw == VOID) & (len(palette) <= VOID))] = VOID_COLOUR
    return colours


def difference(case: Case) -> UInt8Array:
    """The frame in light grey, and pixels on which labels differ in a colour that says who is right."""
    grey = case.frame.frame_hwc.mean(axis=2) / 2 + 110
    picture = grey.astype(np.uint8)[..., None].repeat(3, axis=2)  # (H, W, 3)
    differ = case.labels_hw != case.reference_hw
    picture[differ] = OTHER
    if case.frame.truth_hw is not None:
        picture[differ & (case.reference_hw == case.frame.truth_hw)] = LOST
        picture[differ & (case.labels_hw == case.frame.truth_hw)] = GAINED
    return picture


def _joined(panels: list[tuple[str, UInt8Array]]) -> UInt8Array:
    height, width = panels[0][1].shape[:2]
    column_px, top_px = width + GAP_PX, 2 * FONT_PX
    picture = Image.new("RGB", (column_px * len(panels) - GAP_PX, height + top_px), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=FONT_PX)
    for index, (caption, panel_hwc) in enumerate(panels):
        picture.paste(Image.fromarray(panel_hwc), (index * column_px, top_px))
        shown = caption
        while draw.textlength(shown, font=font) > width and len(shown) > 1:
            shown = shown[:-1]
        draw.text((index * column_px, FONT_PX // 2), shown, fill="black", font=font)
    return np.asarray(picture)
