"""Name the family and variant of a state dict, or say precisely why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

import torch

from ..errors import ExportError
from ..families import FAMILIES, Fcn
from .building import COUNTERS, some
from .lookalikes import LOOKALIKES, kind_of
from .reading import Checkpoint


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
    told = checkpoint.told
    if told is not None and told.family == found.family and variant is None and output_stride is None:
        variant = told.variant
    if output_stride is not None:
        variant = _variant_of_stride(checkpoint, found, output_stride, variant)
    if variant is None and len(admitted) == 1:
        return found, admitted[0]
    if variant is None:
        return found, _variant_from_hints(checkpoint, found, admitted)
    if variant not in admitted:
        raise ExportError(f"--variant {variant}: the keys of {checkpoint.path} say {found.family} {_either(admitted)}")
    return found, variant


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


def _unknown(checkpoint: Checkpoint, families: Iterable[type[Fcn]]) -> str:
    """Why no family matches: what the nearest lacks, where one is near, else what the file looks like."""
    with torch.device("meta"):
        known = {(f.family, v): _by_place(f(v).state_dict()) for f in families for v in f.variants}
    found = _by_place(checkpoint.state)
    family, variant = max(known, key=lambda name: _likeness(known[name].keys(), found.keys()))
    nearest = known[family, variant]
    if 2 * len(nearest.keys() & found.keys()) < len(nearest):
        supported = ", ".join(dict.fromkeys(family.family for family in families))
        return (
            f"{checkpoint.path}: not a known FCN; {kind_of(checkpoint.state)}; supported are {supported}, "
            "see docs/checkpoints.md"
        )
    missing = [nearest[place] for place in nearest.keys() - found.keys()]
    strange = [found[place] for place in found.keys() - nearest.keys()]
    return (
        f"{checkpoint.path}: not a known FCN; nearest is {family} {variant}, "
        f"which also needs {some(missing)} and has no {some(strange)}"
    )


def _by_place(keys: Iterable[str]) -> dict[str, str]:
    """Keys by what is left of them without the numbers of residual blocks, so that depth does not count."""
    kept = [key for key in sorted(keys, reverse=True) if not key.endswith(COUNTERS)]
    return {re.sub(r"(layer\d|^[4-7])\.\d+\.", r"\1.#.", key): key for key in kept}


def _likeness(first: Set[str], second: Set[str]) -> float:
    return len(first & second) / len(first | second)


def _either(names: tuple[str, ...]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
