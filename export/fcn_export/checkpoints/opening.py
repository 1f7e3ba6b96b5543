"""From the name of a checkpoint to its network in torch and what it was trained on: one way for all commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint_options import CheckpointOptions, InputFacts
from ..families import Fcn, InputContract
from .building import build, some, strangers
from .contracts import choose_contract, described
from .reading import TORCHVISION_NAMES, Checkpoint, fetch_torchvision, load_checkpoint
from .recognition import recognise


@dataclass(frozen=True)
class Opened:
    """A checkpoint, its network with its weights, and the input that network was trained on.

    `assumptions` says in lines of a report what was taken for true that the weights do not tell, and from where.
    """

    checkpoint: Checkpoint
    net: Fcn
    contract: InputContract
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
    contract = choose_contract(family, options.input, net.classes)
    lines = (*_whereabouts(checkpoint, net), *_assumptions(net, contract, options))
    return Opened(checkpoint, net, contract, lines)


def _whereabouts(checkpoint: Checkpoint, net: Fcn) -> Iterator[str]:
    if checkpoint.others:
        others = " or ".join(f"--weights {name}" for name in checkpoint.others)
        yield f"weights    {checkpoint.weights or 'the outermost'}; the file also holds others: {others}"
    left_out = [*checkpoint.left_out, *strangers(checkpoint, net)]
    if left_out:
        yield f"left out   {some(left_out)}, which belong to no network"


def _assumptions(net: Fcn, contract: InputContract, options: CheckpointOptions) -> Iterator[str]:
    if net.assumed:
        yield f"structure  {net.assumed}"
    if net.one_class:
        yield "sigmoid    one class: label 1 where its logit is above 0, label 0 elsewhere"
    published = "as published; --mean --std --input-color to say otherwise"
    yield f"trained on {described(contract)} ({published if options.input == InputFacts() else 'as stated'})"


def _load(name: str, options: CheckpointOptions) -> Checkpoint:
    if name in TORCHVISION_NAMES and not Path(name).exists():
        return fetch_torchvision(name)
    return load_checkpoint(Path(name), options.trust_pickle, options.weights)
