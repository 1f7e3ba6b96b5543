"""What a model file says of itself: the `fcn.*` metadata, parsed, validated and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..errors import ModelFileError
from .facts import fact, keys, parsed, written
from .interface import Interface, parse_interface, written_interface
from .precision import Precision
from .tail import MAX_TAIL, Tail, parse_tail
from .validation import check_format, number, one_of, positive, several, text, told, triple, whole

FORMAT = 1  # of the metadata that is written, and the newest that is read
PREFIX = "fcn."  # of our keys in an ONNX file's metadata
EXPORT_AGAIN = "export the checkpoint again with export/to_onnx.py"
PALETTE_NAMES = ("voc", "cityscapes", "camvid", "generated")
Color = Literal["rgb", "bgr"]
BYTES_TO_LABELS = Interface()
# What other programs read of an image model, by the ONNX standard's names.
_PIXEL_FORMATS = {"rgb": "Rgb8", "bgr": "Bgr8"}


def _palette(value: Any) -> str | tuple[tuple[int, int, int], ...]:
    if isinstance(value, str):
        return one_of(*PALETTE_NAMES)(value)
    return several(triple(whole(0, 255)), "colours, or a palette's name")(value)


@dataclass(frozen=True)
class ModelSpec:
    """The facts of a model file, in the order in which they stand there.

    A network was trained on x = (frame * scale - mean) / std, with frames 0 to 255; mean and std are in the channel
    order of `color`. All of that is inside the graph already: frames go in as they are. `input_color` is the order in
    training and `input_source` says who said so; files of before have neither. `interface` stands in a file only
    where it is another than bytes to labels.
    """

    family: str = field(metadata=fact(text))
    variant: str = field(metadata=fact(text))
    classes: tuple[str, ...] = field(metadata=fact(several(text, "class names")))
    palette: str | tuple[tuple[int, int, int], ...] = field(metadata=fact(_palette))
    color: Color = field(metadata=fact(one_of("rgb", "bgr")))
    mean: tuple[float, float, float] = field(metadata=fact(triple(number)))
    std: tuple[float, float, float] = field(metadata=fact(triple(positive)))
    scale: float = field(metadata=fact(positive))
    precision: Precision = field(metadata=fact(one_of(*Precision)))
    min_size: int = field(metadata=fact(whole(1, MAX_TAIL)))
    checkpoint_sha256: str = field(metadata=fact(text))
    tool: str = field(metadata=fact(text))
    tail: Tail = field(metadata=fact(parse_tail, asdict))
    input_color: str = field(default="", metadata=fact(one_of("rgb", "bgr", "")))
    input_source: str = field(default="", metadata=fact(text))
    interface: Interface = field(default=BYTES_TO_LABELS, metadata=fact(parse_interface, written_interface))

    def __post_init__(self) -> None:
        if not isinstance(self.palette, str) and len(self.palette) != len(self.classes):
            raise ValueError(f"{len(self.palette)} colours for {len(self.classes)} classes")

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> ModelSpec:
        """Parse `fcn.*` properties.

        Args:
            metadata: an ONNX file's metadata_props; other keys are ignored.
            source: the file's name, for messages.

        Raises:
            ModelFileError: there are none, one is missing or invalid, or the format is newer than this version.
        """
        known = {PREFIX + name: name for name in ("format", *keys(cls))}
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
        check_format("fcn.format", facts.get("format"), FORMAT, source, EXPORT_AGAIN)
        with told(f"{source}: invalid fcn.* metadata", EXPORT_AGAIN):
            return parsed(cls, facts)

    def facts(self) -> dict[str, Any]:
        """The facts as JSON values, without the prefix of their keys."""
        facts = {"format": FORMAT, **written(self)}
        if self.interface == BYTES_TO_LABELS:
            del facts["interface"]
        return facts

    def metadata(self) -> dict[str, str]:
        """The properties of an ONNX file: our facts as JSON, and the standard's own on images."""
        ours = {PREFIX + key: json.dumps(value) for key, value in self.facts().items()}
        if self.interface.input_range == "normalised":
            return ours  # the standard has no word for it
        return {
            **ours,
            "Image.BitmapPixelFormat": _PIXEL_FORMATS[self.color],
            "Image.ColorSpaceGamma": "SRGB",
            "Image.NominalPixelRange": "NominalRange_0_255",
        }


def _json(key: str, value: str, source: str) -> Any:
    with told(f"{source}: {key} is not JSON", EXPORT_AGAIN):
        return json.loads(value)
