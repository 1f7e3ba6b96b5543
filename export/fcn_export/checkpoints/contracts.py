"""What a network was trained on: as its family published it, or as the command line states it; never guessed."""

from __future__ import annotations

from ..checkpoint_options import InputFacts, Triple
from ..errors import ExportError
from ..families import Fcn, InputContract
from ..families.base import IMAGENET_MEAN, IMAGENET_STD

NOTHING = InputFacts()


def choose_contract(family: type[Fcn], stated: InputFacts = NOTHING, classes: int | None = None) -> InputContract:
    """The family's input contract, or the one that was stated.

    Args:
        family: of the checkpoint.
        stated: what the command line says.
        classes: how many the checkpoint has, where that tells whether it is one of the published networks.

    Raises:
        ExportError: several contracts are possible, or what was stated is incomplete or contradicts itself.
    """
    published = family.published_contracts(classes)
    if stated.mean is None and stated.std is None:
        return _published(family, published, stated)
    if stated.mean is None or stated.std is None:
        given, missing = ("--std", "--mean") if stated.mean is None else ("--mean", "--std")
        none = "0" if missing == "--mean" else "1"
        raise ExportError(
            f"{given}: a mean and a std are stated together; add {missing} A,B,C ({none} if there was none)"
        )
    contract = InputContract(_color(family, stated), _scale_of(family, stated), stated.mean, stated.std)
    _check_mean(contract)
    return contract


def described(contract: InputContract) -> str:
    """A contract in words, such as "RGB / 255, ImageNet mean and std"."""
    scales = {1.0: "0-255", 1 / 255: "/ 255"}
    scale = next(
        (text for value, text in scales.items() if abs(value - contract.scale) < 1e-6), f"* {contract.scale:g}"
    )
    rgb = contract.in_order("rgb")
    if (rgb.mean, rgb.std) == (IMAGENET_MEAN, IMAGENET_STD):
        return f"{contract.color.upper()} {scale}, ImageNet mean and std"
    std = "" if contract.std == (1, 1, 1) else f", std {_numbers(contract.std, ', ')}"
    return f"{contract.color.upper()} {scale}, mean {_numbers(contract.mean, ', ')}{std}"


def telling_flags(contract: InputContract, others: list[InputContract]) -> str:
    """The flags that tell a published contract from the others of its family."""
    if all(abs(other.scale - contract.scale) > 1e-6 for other in others if other is not contract):
        return f"--input-scale {_scale(contract.scale)}"
    if all(other.color != contract.color for other in others if other is not contract):
        return f"--input-color {contract.color}"
    return f"--mean {_numbers(contract.mean)} --std {_numbers(contract.std)}"


def _published(family: type[Fcn], published: tuple[InputContract, ...], stated: InputFacts) -> InputContract:
    fitting = [contract for contract in published if _fits(contract, stated)]
    if len(fitting) == 1:
        return fitting[0]
    if not published:
        raise ExportError(
            f"{family.family}: every data set has its own mean and std there, which the weights do not tell; add "
            "--mean R,G,B --std R,G,B from its data loader, for frames divided by 255"
        )
    if not fitting:
        raise ExportError(_unpublished(family, published, stated))
    choices = " or ".join(f"{telling_flags(one, fitting)} ({described(one)})" for one in fitting)
    raise ExportError(
        f"{family.family}: the weights cannot tell what frames were normalised by in training; look into your data "
        f"pipeline and add {choices}; anything else is stated by --input-color --input-scale --mean --std"
    )


def _fits(contract: InputContract, stated: InputFacts) -> bool:
    scale = stated.scale is None or abs(contract.scale - stated.scale) < 1e-6
    return scale and stated.color in (None, contract.color)


def _unpublished(family: type[Fcn], published: tuple[InputContract, ...], stated: InputFacts) -> str:
    known = " or ".join(described(contract) for contract in published)
    flags = [f"--input-color {stated.color}"] if stated.color else []
    flags += [f"--input-scale {_scale(stated.scale)}"] if stated.scale else []
    order = ",".join(stated.color or published[0].color).upper()
    return (
        f"{' '.join(flags)}: {family.family} is published as trained on {known}; "
        f"for another input say all of it, add --mean {order} --std {order} with a number for each channel"
    )


def _color(family: type[Fcn], stated: InputFacts) -> str:
    colors = {contract.color for contract in family.contracts}
    if stated.color is None and len(colors) > 1:
        raise ExportError(f"--mean, --std: {family.family} is trained on either order; add --input-color rgb or bgr")
    return stated.color or colors.pop()


def _scale_of(family: type[Fcn], stated: InputFacts) -> float:
    scales = {contract.scale for contract in family.contracts}
    small = stated.mean is not None and 0 < max(stated.mean) <= 1
    if stated.scale is None and (len(scales) > 1 or (small and 1.0 in scales)):
        raise ExportError(
            "--mean, --std: what were frames (0 to 255) multiplied by before? add --input-scale 1/255 or 1"
        )
    return stated.scale or scales.pop()


def _check_mean(contract: InputContract) -> None:
    """Refuse a mean far outside of what the frames can be: it is in other units than the frames then."""
    reach = 255 * contract.scale
    if max(map(abs, contract.mean)) <= 2 * reach:
        return
    mean = tuple(value * contract.scale for value in contract.mean)
    raise ExportError(
        f"--mean {_numbers(contract.mean)}: frames are multiplied by {_scale(contract.scale)} first and then lie "
        f"from 0 to {reach:g}; say --mean {_numbers(mean)}, or --input-scale 1 with a mean and a std from 0 to 255"
    )


def _numbers(values: Triple, comma: str = ",") -> str:
    return comma.join(map(_shortest, values))


def _shortest(value: float) -> str:
    """A number in few digits, as a fraction of 255 where that has fewer."""
    plain, of_255 = f"{value:.11g}", f"{value * 255:.11g}"
    return f"{of_255}/255" if len(of_255) + 2 < len(plain) else plain


def _scale(scale: float) -> str:
    return "1/255" if abs(scale - 1 / 255) < 1e-6 else f"{scale:g}"
