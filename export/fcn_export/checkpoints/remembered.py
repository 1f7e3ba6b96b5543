"""What a checkpoint of our own trainer says of itself, beside weights that upstream's code loads as it always did.

    {"format": 1, "family": "d2l", "variant": "fcn32s", "classes": ["sky", ...], "palette": "camvid",
     "input": {"color": "rgb", "scale": 0.0039, "mean": [0.485, ...], "std": [0.229, ...]}, "crop": [320, 480]}

stands under the key `fcnrt` of a trainer's dict; a bare state dict carries it as its attribute `fcnrt`, so that
`load_state_dict` finds no strange key. `palette` is a name that fcnrt knows, or a [red, green, blue] for each class;
`crop` is the height and width of the pictures that it was trained on.
"""

from __future__ import annotations

import reprlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fcnrt.contract.validation import exactly, number, one_of, positive, several, text, triple, whole

from ..errors import ExportError
from ..families import InputContract

KEY, FORMAT = "fcnrt", 1


@dataclass(frozen=True)
class Remembered:
    """What export and parity need to know and weights do not tell."""

    family: str
    variant: str
    classes: tuple[str, ...]
    palette: str | tuple[tuple[int, int, int], ...]
    contract: InputContract
    crop: tuple[int, int]


def remember(content: Mapping[str, Any], facts: Remembered) -> Mapping[str, Any]:
    """What to save: a trainer's dict or a bare state dict, with the facts.

    Args:
        content: the dict; one that has anything but tensors in it is a trainer's.
        facts: of the network whose weights it holds.
    """
    written = {
        "format": FORMAT,
        "family": facts.family,
        "variant": facts.variant,
        "classes": list(facts.classes),
        "palette": facts.palette if isinstance(facts.palette, str) else [list(colour) for colour in facts.palette],
        "input": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(facts.contract).items()},
        "crop": list(facts.crop),
    }
    if any(not hasattr(value, "dtype") for value in content.values()):
        return {**content, KEY: written}
    state = OrderedDict(content)
    setattr(state, KEY, written)
    return state


def remembered(content: object, name: object) -> Remembered | None:
    """The facts of what torch.load gave; None where there are none.

    Args:
        content: the outermost object of a checkpoint.
        name: of the file, for errors.

    Raises:
        ExportError: they are damaged, or of a newer format.
    """
    found = content.get(KEY) if isinstance(content, Mapping) else None
    found = getattr(content, KEY, None) if found is None else found
    if found is None:
        return None
    try:
        return _checked(found)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ExportError(
            f"{name}: what it says of itself under '{KEY}' is damaged or of a newer trainer ({error}); update fcnrt, "
            "or re-save the weights alone and say family, classes and input by flags"
        ) from error


def _checked(found: Any) -> Remembered:
    exactly(dict)(found)
    if found["format"] != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {reprlib.repr(found['format'])}")
    classes = several(text, "names of classes")(found["classes"])
    palette = _palette(found["palette"], len(classes))
    height, width = map(whole(), exactly(list)(found["crop"]))
    contract = _contract(exactly(dict)(found["input"]))
    return Remembered(text(found["family"]), text(found["variant"]), classes, palette, contract, (height, width))


def _palette(value: Any, classes: int) -> str | tuple[tuple[int, int, int], ...]:
    if isinstance(value, str):
        return value
    palette = several(triple(whole(0, 255)), "colours")(value)
    if len(palette) != classes:
        raise ValueError(f"palette: expected {classes} colours, got {len(palette)}")
    return palette


def _contract(value: dict[str, Any]) -> InputContract:
    mean, std = triple(number)(value["mean"]), triple(positive)(value["std"])
    return InputContract(one_of("rgb", "bgr")(value["color"]), positive(value["scale"]), mean, std)
