"""Flags of `fcnrt segment` for what is looked at: which frames, which part of them, which classes."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any

from ..contract.types import UInt8Array
from ..errors import UsageError
from ..pictures.drawing import Drawing
from ..pictures.palette import with_void
from ..segmenter import Segmenter
from ..video.frames import FrameSource
from ..video.labelling import Labelling
from ..video.sources.thinned import Thinned
from .argument_types import duration, positive, region


def add_selection_arguments(group: Any) -> None:
    """Add the flags to a group of a parser's arguments."""
    group.add_argument("--every", type=positive, default=1, metavar="N", help="label every Nth frame alone (1)")
    group.add_argument(
        "--for", type=duration, dest="length", metavar="TIME", help="end each input after this long: 90, 90s, 10m, 1h"
    )
    group.add_argument(
        "--roi", type=region, metavar="X,Y,W,H", help="label this part of the frames, in pixels; the rest is void, 255"
    )
    classes = group.add_mutually_exclusive_group()
    classes.add_argument("--only", nargs="+", metavar="CLASS", help="draw and tell of these classes alone")
    classes.add_argument("--ignore", nargs="+", metavar="CLASS", help="draw and tell of all classes but these")


def selected_frames(source: FrameSource, options: argparse.Namespace) -> FrameSource:
    """The frames of a source that are wanted."""
    whole = options.every == 1 and options.length is None
    return source if whole else Thinned(source, options.every, options.length)


def selected_classes(classes: Sequence[str], options: argparse.Namespace) -> list[int] | None:
    """The numbers of the classes that are drawn and told of; None for all. Raises UsageError for unknown names."""
    if options.only:
        return sorted({_number(name, "--only", classes) for name in options.only})
    if options.ignore:
        left_out = {_number(name, "--ignore", classes) for name in options.ignore}
        return [index for index in range(len(classes)) if index not in left_out]
    return None


def labelling_of(segmenter: Segmenter, options: argparse.Namespace) -> Labelling:
    """How frames are labelled; raises FrameError where the model has no label for void, but needs one."""
    labelling = Labelling(options.roi, options.confidence)
    labelling.check(segmenter)
    return labelling


def drawing_of(segmenter: Segmenter, options: argparse.Namespace) -> Drawing:
    """How labels are drawn."""
    only = selected_classes(segmenter.classes, options)
    if only is None and options.roi:
        only = list(range(len(segmenter.classes)))  # void is left as it is
    return Drawing(
        segmenter.palette,
        options.alpha,
        boundaries=options.boundaries,
        legend=segmenter.classes if options.legend else None,
        legend_of=options.legend or "present",
        only=only,
    )


def palette_of(segmenter: Segmenter, options: argparse.Namespace) -> UInt8Array:
    """(count, 3) uint8, RGB: a colour for every label, black for void where there is some."""
    return with_void(segmenter.palette) if options.roi else segmenter.palette


def _number(name: str, flag: str, classes: Sequence[str]) -> int:
    """That of a class, by its name in whatever case, or by the number itself."""
    names = [each.casefold() for each in classes]
    if name.casefold() in names:
        return names.index(name.casefold())
    if name.isdecimal() and len(name) <= len(str(len(classes))) and int(name) < len(classes):
        return int(name)
    near = difflib.get_close_matches(name.casefold(), names, n=1)
    hint = f"did you mean {classes[names.index(near[0])]!r}?" if near else f"it has {', '.join(classes[:20])}"
    raise UsageError(f"{flag}: expected a class of the model, got {name!r}; {hint}")
