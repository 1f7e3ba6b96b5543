"""Protocol buffers as people write them: the text format of Triton's and DeepStream's configurations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


class Word(str):
    """A name of an enumeration, which stands without quotes."""


Message = dict[str, Any]


def text_of(message: Message) -> str:
    """A message: keys to strings, Words, numbers, booleans, messages, or lists of any of these."""
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Message) -> Iterator[str]:
    for key, value in message.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield f"{key} {{"
                yield from (f"  {line}" for line in _lines(item))
                yield "}"
            else:
                yield f"{key}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, Word):
        return value
    return json.dumps(value, ensure_ascii=False)
