"""From the name of a checkpoint to its network in torch and what it was trained on: one way for all commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint_options import CheckpointOptions, InputFacts
from ..families import Fcn, InputContract
from .building import build, some, strangers
from .contracts import NOTHING, choose_contract, described
from .reading import TORCHVISION_NAMES, Checkpoint, fetch_torchvision, load_checkpoint
from .recognition import recognise
from .remembered import Remembered

Palette = str | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Opened:
    """A checkpoint, its network with its weights, and the input that network was trained on.

    Attributes:
        classes, palette: what the file says of them; None where it says nothing.
        assumptions: lines for a report: what was taken for true that the weights do not tell, and from where.
    """

    checkpoint: Checkpoint
    net: Fcn
    contract: InputContract
    classes: tuple[str, ...] | None
    palette: Palette | None
    assumptions: tuple[str, ...]


def open_checkpoint(name: str, options: CheckpointOptions) -> Opened:
    """Read, recognise and build a checkpoint.

    Args:
        name: a file, or the name of torchvision's published weights.
        options: what the file cannot tell.

    Raises:
        ExportError: it cannot be read or recognised, or something must be said; the text tells what.
    """
    checkpoint = _load(name, options)
    family, variant = recognise(checkpoint, options.family, options.variant, options.output_stride)
    net = build(checkpoint, family, variant)
    told = checkpoint.told
    if told and (told.family != net.family or len(told.classes) != net.classes):
        told = None
    contract, source = _contract(family, net, options.input, told)
    lines = (*_whereabouts(checkpoint, net), *_assumptions(net, contract, source))
    return Opened(checkpoint, net, contract, told and told.classes, told and told.palette, lines)


def _contract(family: type[Fcn], net: Fcn, stated: InputFacts, told: Remembered | None) -> tuple[InputContract, str]:
    """What the input was in training, and who says so."""
    if stated != NOTHING:
        return choose_contract(family, stated, net.classes), "as stated"
    if told is not None:
        return told.contract, "as its trainer wrote"
    published = "as published; --mean --std --input-color to say otherwise"
    return choose_contract(family, stated, net.classes), published


def _whereabouts(checkpoint: Checkpoint, net: Fcn) -> Iterator[str]:
    if checkpoint.others:
        others = " or ".join(f"--weights {name}" for name in checkpoint.others)
        yield f"weights    {checkpoint.weights or 'the outermost'}; the file also holds others: {others}"
    left_out = [*checkpoint.left_out, *strangers(checkpoint, net)]
    if left_out:
        yield f"left out   {some(left_out)}, which belong to no network"


def _assumptions(net: Fcn, contract: InputContract, source: str) -> Iterator[str]:
    if net.assumed:
        yield f"structure  {net.assumed}"
    if net.one_class:
        yield "sigmoid    one class: label 1 where its logit is above 0, label 0 elsewhere"
    yield f"trained on {described(contract)} ({source})"


def _load(name: str, options: CheckpointOptions) -> Checkpoint:
    if name in TORCHVISION_NAMES and not Path(name).exists():
        return fetch_torchvision(name)
    return load_checkpoint(Path(name), options.trust_pickle, options.weights)
