"""What a command line says of a checkpoint that the file itself cannot; imports nothing heavy."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class InputFacts:
    """The parts of x = (frame * scale - mean) / std that were stated; None where nothing was.

    `mean` and `std` are in the channel order of `color`, or of the family's published one where that is None.
    """

    color: Literal["rgb", "bgr"] | None = None
    scale: float | None = None
    mean: Triple | None = None
    std: Triple | None = None


@dataclass(frozen=True)
class CheckpointOptions:
    """How to read a checkpoint, where its keys do not tell.

    Attributes:
        family, variant: named instead of recognised.
        weights: which of several networks in the file: a key of its dict, or a prefix of the network's keys.
        output_stride: of a ResNet whose dilation the keys cannot tell.
        align_corners: of the last upsampling, where the keys cannot tell.
        input: what was stated of the frames in training.
        trust_pickle: also read whole-module pickles, without running their code.
    """

    family: str | None = None
    variant: str | None = None
    weights: str | None = None
    output_stride: int | None = None
    align_corners: bool | None = None
    input: InputFacts = InputFacts()
    trust_pickle: bool = False


def checkpoint_options(options: argparse.Namespace) -> CheckpointOptions:
    """What the flags of `command_line.add_checkpoint_flags` say."""
    facts = InputFacts(options.input_color, options.input_scale, options.mean, options.std)
    aligned = {None: None, "yes": True, "no": False}[options.align_corners]
    structure = (options.output_stride, aligned)
    return CheckpointOptions(options.family, options.variant, options.weights, *structure, facts, options.trust_pickle)
