"""Compiled GPU kernels as JSON keeps them, in sidecars and packs: written by the exporter, launched by the runtime."""

from __future__ import annotations

import base64
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

Record = Mapping[str, Any]


def checked_records(records: Any) -> tuple[Record, ...]:
    """Kernels' records as a JSON file gave them, if that is what they are; raises ValueError."""
    if not isinstance(records, list):
        raise ValueError(f"expected kernels, got {reprlib.repr(records)}")
    for record in records:
        if not isinstance(record, dict):
            raise ValueError(f"expected a kernel, got {reprlib.repr(record)}")
        for name, is_proper in _FIELDS.items():
            if not is_proper(record.get(name)):
                raise ValueError(f"a kernel's {name} is {reprlib.repr(record.get(name))}")
    return tuple(records)


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_tile(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_whole(1, 1 << 16), value))


def _is_signature(value: Any) -> bool:
    types = value if isinstance(value, list) else [None]
    return all(isinstance(name, str) and re.fullmatch(r"\*[a-z]+[0-9]+|i32|i64|fp32", name) for name in types)


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode(value, validate=True))
    except ValueError:
        return False


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "variant": _is_text,
    "sm": _whole(1, 1 << 16),
    "entry": _is_text,
    "warps": _whole(1, 32),
    "shared_bytes": _whole(0, 1 << 20),
    "tile": _is_tile,
    "parameters": _is_signature,
    "cubin": _is_base64,
}
