"""Compiled GPU kernels as JSON keeps them, in sidecars and packs: written by the exporter, launched by the runtime."""

from __future__ import annotations

import base64
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .types import label_dtype
from .validation import exactly, text, whole

Record = Mapping[str, Any]
LABELS = ("u8", "u16")  # Triton's names of the labels' types


def labels_name(classes: int) -> str:
    """Triton's name of the labels' type."""
    return {np.uint8: "u8", np.uint16: "u16"}[label_dtype(classes)]


def upsampling_variant(scores: str, labels: str, rows: int, confidence: bool) -> str:
    """The name of a variant of upsample_argmax, by types, rows of pixels to a program, and what it writes."""
    return f"{scores}-{labels}-rows{rows}" + "-confidence" * confidence


def checked_records(records: Any) -> tuple[Record, ...]:
    """Kernels' records as a JSON file gave them, if that is what they are; raises ValueError."""
    if not isinstance(records, list):
        raise ValueError(f"expected kernels, got {reprlib.repr(records)}")
    return tuple(map(_checked, records))


def _checked(record: Any) -> Record:
    if not isinstance(record, dict):
        raise ValueError(f"expected a kernel, got {reprlib.repr(record)}")
    for name, parse in _FIELDS.items():
        try:
            parse(record.get(name))
        except (TypeError, ValueError) as error:
            raise ValueError(f"a kernel's {name}: {error}") from None
    return record


def _tile(value: Any) -> None:
    if len(exactly(list)(value)) != 2:
        raise ValueError(f"expected rows and columns, got {reprlib.repr(value)}")
    for side in value:
        whole(1, 1 << 16)(side)


def _signature(value: Any) -> None:
    for name in exactly(list)(value):
        if not isinstance(name, str) or not re.fullmatch(r"\*[a-z]+[0-9]+|i32|i64|fp32", name):
            raise ValueError(f"expected the type of an argument, got {reprlib.repr(name)}")


def _base64(value: Any) -> None:
    base64.b64decode(text(value), validate=True)


_FIELDS: dict[str, Callable[[Any], object]] = {
    "name": text,
    "variant": text,
    "sm": whole(1, 1 << 16),
    "entry": text,
    "warps": whole(1, 32),
    "shared_bytes": whole(0, 1 << 20),
    "tile": _tile,
    "parameters": _signature,
    "cubin": _base64,
}
