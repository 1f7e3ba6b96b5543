"""Name the family and variant of a state dict, or say precisely why not, and build its network."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from fcnrt.errors import first_line

from ..errors import ExportError
from ..families import FAMILIES, Fcn, State
from .one_class import with_background
from .reading import Checkpoint

# Networks that look like ours and are not; the keys that tell them, and why they are refused.
LOOKALIKES = {
    ("conv_block1.0.weight", "classifier.6.weight"): (
        "an FCN of meetps/pytorch-semseg: its revisions upsample in three ways and normalise in four, "
        "and the checkpoint tells neither; re-save the weights in torchfcn's layout"
    ),
    ("backbone.conv1.weight", "classifier.0.convs.0.0.weight"): "a DeepLabV3, not an FCN",
    ("jpu.conv5.0.weight", "head.block.0.weight"): "a Tramac FCN with joint pyramid upsampling, not a plain FCN",
}


def recognise(
    checkpoint: Checkpoint, family: str | None = None, variant: str | None = None, output_stride: int | None = None
) -> tuple[type[Fcn], str]:
    """The family and variant of a checkpoint: from its keys, else from the names in its hints.

    Args:
        checkpoint: what `load_checkpoint` gave.
        family: name it instead of recognising it.
        variant: name it where keys and hints cannot tell.
        output_stride: name the variant by it, where a family has one for each.

    Raises:
        ExportError: no family matches, or the variant is open; the text says what to add.
    """
    found = _family(checkpoint, family)
    admitted = found.variants_of(checkpoint.state)
    if output_stride is not None:
        variant = _variant_of_stride(checkpoint, found, output_stride, variant)
    if variant is None and len(admitted) == 1:
        return found, admitted[0]
    if variant is None:
        return found, _variant_from_hints(checkpoint, found, admitted)
    if variant not in admitted:
        raise ExportError(f"--variant {variant}: the keys of {checkpoint.path} say {found.family} {_either(admitted)}")
    return found, variant


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


def _family(checkpoint: Checkpoint, name: str | None) -> type[Fcn]:
    for keys, reason in LOOKALIKES.items():
        if checkpoint.state.keys() >= set(keys):
            raise ExportError(f"{checkpoint.path}: this is {reason}")
    candidates = [family for family in FAMILIES if name in (None, family.family)]
    if not candidates:
        raise ExportError(f"--family {name}: expected one of {', '.join(family.family for family in FAMILIES)}")
    for family in candidates:
        if family.matches(checkpoint.state):
            return family
    raise ExportError(_unknown(checkpoint, candidates))


def _variant_from_hints(checkpoint: Checkpoint, family: type[Fcn], admitted: tuple[str, ...]) -> str:
    longest_first = sorted(admitted, key=len, reverse=True)
    for hint in checkpoint.hints:
        for variant in longest_first:
            if _names(hint, variant):
                return variant
    if family.usual_variant is not None:
        return family.usual_variant
    raise ExportError(
        f"{checkpoint.path}: {family.family} {_either(admitted)} have the same keys; "
        f"add --variant {' or --variant '.join(admitted)}"
    )


def _variant_of_stride(checkpoint: Checkpoint, family: type[Fcn], output_stride: int, variant: str | None) -> str:
    found = family.variant_of_stride(checkpoint.state, output_stride)
    if found is None:
        raise ExportError(f"--output-stride {output_stride}: not to be had with this {family.family} network; drop it")
    if variant not in (None, found):
        raise ExportError(
            f"--output-stride {output_stride}: this is --variant {found}, got {variant}; drop one of them"
        )
    return found


def _names(hint: str, variant: str) -> bool:
    """Whether a class or file name begins with a variant: FCN8sAtOnce, fcn8s-atonce_from_caffe.pth, FCNs-BCE..."""
    hint = re.sub("at[^a-z0-9]?once", "atonce", hint.lower())
    if "atonce" in hint and "atonce" not in variant:
        return False
    for spelling in {variant, variant.replace("-", ""), variant.replace("-", "_")}:
        if hint.startswith(spelling) and not hint[len(spelling) :][:1].isalnum():
            return True
    return False


def _check_keys(checkpoint: Checkpoint, net: Fcn, state: State) -> None:
    expected = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    problems = [f"lacks {_some(expected.keys() - state.keys())}"] if expected.keys() - state.keys() else []
    if state.keys() - expected.keys():
        problems.append(f"has {_some(state.keys() - expected.keys())}, which that network does not use")
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
        raise ExportError(
            f"{checkpoint.path}: looks like {net.family} {net.variant}, but its layers do not fit each other "
            f"({first_line(error)})"
        ) from error


def _with_counters(net: Fcn, state: State) -> dict[str, Tensor]:
    counters = [key for key in net.state_dict() if key.endswith("num_batches_tracked")]
    return {**state, **{key: torch.zeros((), dtype=torch.long) for key in counters}}


def _unknown(checkpoint: Checkpoint, families: Iterable[type[Fcn]]) -> str:
    keys = checkpoint.state.keys()
    with torch.device("meta"):
        known = {(f.family, v): set(f(v).state_dict()) for f in families for v in f.variants}
    (family, variant), nearest = max(known.items(), key=lambda item: len(item[1] & keys) / len(item[1] | keys))
    nearest = {key for key in nearest if not key.endswith("num_batches_tracked")}
    return (
        f"{checkpoint.path}: not a known FCN; nearest is {family} {variant}, "
        f"which also needs {_some(nearest - keys)} and has no {_some(keys - nearest)}"
    )


def _some(keys: Iterable[str]) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "") or "nothing"


def _either(names: tuple[str, ...]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _what(error: Exception) -> str:
    return f"lacks {error}" if isinstance(error, KeyError) else str(error) or "its shapes contradict each other"
