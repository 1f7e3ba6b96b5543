"""Build the network of a recognised state dict, or say precisely what does not fit."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..errors import ExportError
from ..families import Fcn, State
from .one_class import with_background
from .reading import Checkpoint
from .selection import NO_NETWORK, is_layer

COUNTERS = "num_batches_tracked"  # of BatchNorm, which old files do not have and inference does not read


def build(checkpoint: Checkpoint, family: type[Fcn], variant: str) -> Fcn:
    """The family's network with the checkpoint's weights, in eval mode.

    Raises:
        ExportError: keys are missing or left over, or shapes contradict each other.
    """
    try:
        state = family.canonical(checkpoint.state)
        net, state = _structure(family, state, variant)
    except (KeyError, StopIteration, IndexError, ValueError, ZeroDivisionError) as error:
        raise ExportError(f"{checkpoint.path}: looks like {family.family} {variant}, but {_what(error)}") from error
    state = _without_strangers(net, state)
    _check_keys(checkpoint, net, state)
    _check_fit(checkpoint, net)
    net.load_state_dict(_with_counters(net, state), assign=True)
    return net.eval().requires_grad_(False)


def _structure(family: type[Fcn], state: State, variant: str) -> tuple[Fcn, State]:
    """The network without its weights, and the weights that fit it: a network of one class becomes one of two."""
    with torch.device("meta"):
        net = family.from_state(state, variant)
        if net.classes > 1:
            return net, state
        wider = with_background(net, state)
        net = family.from_state(wider, variant)
        net.one_class = True
        return net, wider


def strangers(checkpoint: Checkpoint, net: Fcn) -> list[str]:
    """The keys that lie among a network's own and that it does not use."""
    return sorted(type(net).canonical(checkpoint.state).keys() - net.state_dict().keys())


def _without_strangers(net: Fcn, state: State) -> State:
    """Without what belongs to no network: weights of a loss, counts of a metric, statistics of the input."""
    parts = {name for name, _ in net.named_children()}
    left = state.keys() - net.state_dict().keys()
    groups = {key.split(".")[0] for key in left} - parts
    layers = {key.split(".")[0] for key in left if is_layer(state[key]) and not NO_NETWORK.search(key)}
    return {key: value for key, value in state.items() if key.split(".")[0] not in groups - layers}


def _check_keys(checkpoint: Checkpoint, net: Fcn, state: State) -> None:
    expected = {key: value for key, value in net.state_dict().items() if not key.endswith(COUNTERS)}
    problems = [f"lacks {some(expected.keys() - state.keys())}"] if expected.keys() - state.keys() else []
    if state.keys() - expected.keys():
        problems.append(f"has {some(state.keys() - expected.keys())}, which that network does not use")
    wrong = [key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape]
    if wrong:
        key = min(wrong)
        problems.append(f"has {key} of shape {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}")
    if problems:
        raise ExportError(f"{checkpoint.path}: looks like {net.family} {net.variant}, but {' and '.join(problems)}")


def _check_fit(checkpoint: Checkpoint, net: Fcn) -> None:
    """Run shapes alone through the network: layers that do not fit each other show here."""
    try:
        net(torch.zeros(1, 3, 64, 64, device="meta"))
    except (RuntimeError, ValueError, IndexError) as error:
        text = str(error).splitlines()[0]
        raise ExportError(
            f"{checkpoint.path}: looks like {net.family} {net.variant}, but its layers do not fit each other ({text})"
        ) from error


def _with_counters(net: Fcn, state: State) -> dict[str, Tensor]:
    counters = [key for key in net.state_dict() if key.endswith(COUNTERS)]
    return {**state, **{key: torch.zeros((), dtype=torch.long) for key in counters}}


def some(keys: Iterable[str]) -> str:
    """The first few of some keys, and how many more."""
    keys = sorted(keys)
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "") or "nothing"


def _what(error: Exception) -> str:
    return f"lacks {error}" if isinstance(error, KeyError) else str(error) or "its shapes contradict each other"
