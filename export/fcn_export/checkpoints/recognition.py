"""Name the family and variant of a state dict, or say precisely why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

import torch

from ..errors import ExportError
from ..families import FAMILIES, Fcn, Told
from .building import COUNTERS, some
from .lookalikes import LOOKALIKES, kind_of
from .reading import Checkpoint


def recognise(
    checkpoint: Checkpoint, family: str | None = None, variant: str | None = None, **structure: object
) -> tuple[type[Fcn], str]:
    """The family and variant of a checkpoint: from its keys, else from what the file says or is called.

    Args:
        checkpoint: what `load_checkpoint` gave.
        family: name it instead of recognising it.
        variant: name it where keys and hints cannot tell.
        structure: parts of `Fcn.structure_of` that name the variant; None where nothing was stated.

    Raises:
        ExportError: no family matches, or the variant is open; the text says what to add.
    """
    found = _family(checkpoint, family)
    admitted = found.variants_of(checkpoint.state)
    if variant is not None and variant not in admitted:
        raise ExportError(f"--variant {variant}: the keys of {checkpoint.path} say {found.family} {_either(admitted)}")
    admitted = admitted if variant is None else (variant,)
    for name, value in structure.items():
        if value is not None:
            admitted = _of_structure(checkpoint, found, admitted, name, value)
    return found, admitted[0] if len(admitted) == 1 else _told_variant(checkpoint, found, admitted)


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


def _of_structure(
    checkpoint: Checkpoint, family: type[Fcn], admitted: tuple[str, ...], name: str, value: object
) -> tuple[str, ...]:
    """The variants of which a flag is true."""
    structures = {variant: family.structure_of(variant, checkpoint.state) for variant in admitted}
    fitting = tuple(variant for variant, structure in structures.items() if structure.get(name) == value)
    if fitting:
        return fitting
    known = sorted({_word(structure[name]) for structure in structures.values() if name in structure})
    has = f"has {' or '.join(known)}" if known else "has no such choice"
    flag = f"--{name.replace('_', '-')} {_word(value)}"
    raise ExportError(f"{flag}: this {family.family} network {has}; drop the flag")


def _told_variant(checkpoint: Checkpoint, family: type[Fcn], admitted: tuple[str, ...]) -> str:
    """The variant by what a trainer wrote, the names in the hints, or as published; else it is asked for."""
    told = told_of(checkpoint, family)
    if told.variant in admitted:
        return str(told.variant)
    for name, value in told.structure.items():
        admitted = tuple(v for v in admitted if family.structure_of(v, checkpoint.state)[name] == value) or admitted
    named = _variant_from_hints(checkpoint, admitted) or family.usual_among(admitted)
    if named is None:
        raise ExportError(
            f"{checkpoint.path}: {family.family} {_either(admitted)} have the same keys; "
            f"add {family.question(admitted)}"
        )
    return named


def told_of(checkpoint: Checkpoint, family: type[Fcn]) -> Told:
    """What the file says of its network; a trainer of ours before anybody else's `meta`."""
    own = checkpoint.told
    if own is None or own.family != family.family:
        return family.told(checkpoint.meta)
    return Told(own.variant, {}, own.contract, own.classes, own.palette, source="as its trainer wrote")


def _variant_from_hints(checkpoint: Checkpoint, admitted: tuple[str, ...]) -> str | None:
    longest_first = sorted(admitted, key=len, reverse=True)
    named = (variant for hint in checkpoint.hints for variant in longest_first if _names(hint, variant))
    return next(named, None)


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


def _word(value: object) -> str:
    """A value as its flag takes it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _either(names: tuple[str, ...]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
