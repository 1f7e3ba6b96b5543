"""From the name of a checkpoint to its network in torch and what it was trained on: one way for all commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint_options import CheckpointOptions, InputFacts
from ..errors import ExportError
from ..families import Fcn, InputContract, Told
from .building import build, some, strangers
from .contracts import NOTHING, choose_contract, described
from .reading import TORCHVISION_NAMES, Checkpoint, fetch_torchvision, load_checkpoint
from .recognition import recognise, told_of

Palette = str | tuple[tuple[int, int, int], ...]
PUBLISHED = "as published"
EVEN = 0.5  # the probability of a logit of 0


@dataclass(frozen=True)
class Opened:
    """A checkpoint, its network with its weights, and the input that network was trained on.

    Attributes:
        contract_source: who says what the input was.
        classes, palette: what the file says of them; None where it says nothing.
        assumptions: lines for a report: what was taken for true that the weights do not tell, and from where.
    """

    checkpoint: Checkpoint
    net: Fcn
    contract: InputContract
    contract_source: str
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
    structure = {"output_stride": options.output_stride, "align_corners": options.align_corners}
    family, variant = recognise(checkpoint, options.family, options.variant, **structure)
    told = told_of(checkpoint, family)
    _check_told(checkpoint, told)
    net = build(checkpoint, family, variant)
    if net.one_class and told.threshold != EVEN:
        net.decide_above(told.threshold)
    contract, source = _contract(net, options.input, told)
    lines = (*_whereabouts(checkpoint, net), *_assumptions(net, told), _input_line(contract, source))
    classes = told.classes if told.classes and len(told.classes) == net.classes else None
    return Opened(checkpoint, net, contract, source, classes, told.palette if classes else None, lines)


def _check_told(checkpoint: Checkpoint, told: Told) -> None:
    if told.problem:
        raise ExportError(f"{checkpoint.path}: its config says {told.problem}, which is not supported")


def _contract(net: Fcn, stated: InputFacts, told: Told) -> tuple[InputContract, str]:
    """What the input was in training, and who says so."""
    if stated == NOTHING and told.contract is not None:
        return told.contract, told.source
    return choose_contract(type(net), stated, net.classes), PUBLISHED if stated == NOTHING else "as stated"


def _whereabouts(checkpoint: Checkpoint, net: Fcn) -> Iterator[str]:
    if checkpoint.others:
        others = " or ".join(f"--weights {name}" for name in checkpoint.others)
        yield f"weights    {checkpoint.weights or 'the outermost'}; the file also holds others: {others}"
    left_out = [*checkpoint.left_out, *strangers(checkpoint, net)]
    if left_out:
        yield f"left out   {some(left_out)}, which belong to no network"


def _assumptions(net: Fcn, told: Told) -> Iterator[str]:
    if net.assumed:
        yield f"structure  {net.assumed}"
    if net.one_class:
        above = "its logit is above 0" if told.threshold == EVEN else f"its sigmoid is above {told.threshold:g}"
        yield f"sigmoid    one class: label 1 where {above}, label 0 elsewhere"


def _input_line(contract: InputContract, source: str) -> str:
    otherwise = "; --mean --std --input-color to say otherwise" if source == PUBLISHED else ""
    return f"trained on {described(contract)} ({source}{otherwise})"


def _load(name: str, options: CheckpointOptions) -> Checkpoint:
    if name in TORCHVISION_NAMES and not Path(name).exists():
        return fetch_torchvision(name)
    return load_checkpoint(Path(name), options.trust_pickle, options.weights)
