"""What a model file says of itself: the `fcn.*` metadata, parsed and validated."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import ModelFileError

MAX_TAIL = 4096  # strides, offsets and minimum sizes beyond this are no FCN's
FORMAT = 1  # the newest format of the metadata that this version reads
TailKind = Literal["half_pixel", "align_corners", "deconv", "none"]


@dataclass(frozen=True)
class Tail:
    """How `scores` (N, C, h, w) become full-size logits (N, C, H, W): the last upsampling of the network.

    Source coordinate of output row y (columns alike), samples outside [0, h-1] taken from the border:

    - ``half_pixel``     (y + 1/2) * h / H - 1/2                 (torch: align_corners=False)
    - ``align_corners``  y * (h - 1) / (H - 1), 0 when H is 1    (torch: align_corners=True)
    - ``deconv``         (y + offset + 1/2) / stride - 1         (bilinear transposed convolution, kernel 2 * stride,
      cropped at `offset`; its zero border scales all classes alike, so the labels are the border's)
    - ``none``           the scores are full size; the frame begins at row and column `offset`, the rest is surplus
    """

    kind: TailKind
    stride: int = 0
    offset: int = 0


@dataclass(frozen=True)
class ModelSpec:
    """The facts of a model file.

    A network was trained on x = (frame * scale - mean) / std, with frames 0 to 255; mean and std are in the channel
    order of `color`. All of that is inside the graph already: frames go in as they are.
    """

    family: str
    variant: str
    classes: tuple[str, ...]
    palette: str | tuple[tuple[int, int, int], ...]
    color: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float
    precision: Literal["fp32", "fp16", "int8"]
    tail: Tail
    min_size: int
    checkpoint_sha256: str
    tool: str

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> ModelSpec:
        """Parse `fcn.*` properties.

        Args:
            metadata: an ONNX file's metadata_props; other keys are ignored.
            source: the file's name, for messages.

        Raises:
            ModelFileError: there are none, one is missing or invalid, or the format is newer than this version.
        """
        known = {f"fcn.{name}": name for name in ("format", *_PARSERS)}
        facts = {known[key]: _json(key, value, source) for key, value in metadata.items() if key in known}
        if not facts:
            raise ModelFileError(
                f"{source}: no fcn.* metadata; expected a file made by export/to_onnx.py, "
                "export the checkpoint again with it"
            )
        return cls.from_facts(facts, source)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], source: str) -> ModelSpec:
        """Validate the facts as JSON values, without the prefix of their keys.

        Raises:
            ModelFileError: one is missing or invalid, or the format is newer than this version.
        """
        check_format("fcn.format", facts.get("format"), FORMAT, source)
        try:
            spec = cls(**{name: parse(facts[name]) for name, parse in _PARSERS.items()})
            _check_palette(spec)
            return spec
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ModelFileError(f"{source}: invalid fcn.* metadata ({what}); export the checkpoint again") from error


def _json(key: str, value: str, source: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{source}: {key} is not JSON ({error}); export the checkpoint again") from error


def check_format(key: str, number: Any, newest: int, source: str, remedy: str = "export the checkpoint again") -> None:
    """Refuse a format that this version does not read: raises ModelFileError."""
    if type(number) is not int or number < 1:
        raise ModelFileError(f"{source}: {key} is {reprlib.repr(number)}, expected {newest}; {remedy}")
    if number > newest:
        raise ModelFileError(
            f"{source}: {key} is {reprlib.repr(number)}, this fcnrt reads up to {newest}; upgrade fcnrt, or {remedy}"
        )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError(f"expected class names, got {value!r}")
    return tuple(_text(name) for name in value)


def _palette(value: Any) -> str | tuple[tuple[int, int, int], ...]:
    if isinstance(value, str):
        return value
    channel = _whole(0, 255)
    return tuple((channel(red), channel(green), channel(blue)) for red, green, blue in value)


def _check_palette(spec: ModelSpec) -> None:
    if not isinstance(spec.palette, str) and len(spec.palette) != len(spec.classes):
        raise ValueError(f"{len(spec.palette)} colours for {len(spec.classes)} classes")


def _one_of(*choices: str) -> Any:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, got {value!r}")
        return str(value)

    return parse


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def _positive(value: Any) -> float:
    if _number(value) <= 0:
        raise ValueError(f"expected a number above 0, got {value!r}")
    return float(value)


def _whole(least: int, most: int) -> Any:
    def parse(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, got {value!r}")
        return value

    return parse


def _triple(value: Any) -> tuple[float, float, float]:
    first, second, third = (_number(number) for number in value)
    return first, second, third


def _tail(value: Any) -> Tail:
    kind = _one_of(*get_args(TailKind))(value["kind"])
    least_stride = 1 if kind == "deconv" else 0
    return Tail(kind, _whole(least_stride, MAX_TAIL)(value["stride"]), _whole(0, MAX_TAIL)(value["offset"]))


_PARSERS: dict[str, Any] = {
    "family": _text,
    "variant": _text,
    "classes": _names,
    "palette": _palette,
    "color": _one_of("rgb", "bgr"),
    "mean": _triple,
    "std": _triple,
    "scale": _positive,
    "precision": _one_of("fp32", "fp16", "int8"),
    "tail": _tail,
    "min_size": _whole(1, MAX_TAIL),
    "checkpoint_sha256": _text,
    "tool": _text,
}
