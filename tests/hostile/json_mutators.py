"""Ways to damage a JSON file of facts, each by a seeded generator."""

from __future__ import annotations

import json
from typing import Any

from numpy.random import Generator

from hostile.mutators import Mutator, cut, flipped_bits, inserted_bytes, swapped_blocks

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1 << 40, 10**400, 0.5, "", "\x1b[2J\r", "x" * 5000, [], {}, [[]], {"a": 1}, [1, 2, 3],
)  # fmt: skip


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways of keys and indices to everything in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [(*way, key) for key, _ in pairs]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [deeper for key, part in pairs for deeper in places(part, (*way, key))]


def other_fact(data: bytes, random: Generator) -> bytes:
    """A fact of another value or type."""
    content, holder, key = _chosen(data, random)
    holder[key] = VALUES[random.integers(len(VALUES))]
    return json.dumps(content).encode()


def lost_fact(data: bytes, random: Generator) -> bytes:
    """A fact is missing."""
    content, holder, key = _chosen(data, random)
    del holder[key]
    return json.dumps(content).encode()


def deep_fact(data: bytes, random: Generator) -> bytes:
    """A fact that is a list in a list in a list."""
    content, holder, key = _chosen(data, random)
    holder[key] = "DEEP"
    return json.dumps(content).encode().replace(b'"DEEP"', b"[" * 100_000 + b"]" * 100_000)


def _chosen(data: bytes, random: Generator) -> tuple[Any, Any, Any]:
    content = json.loads(data)
    ways = places(content)
    *way, key = ways[random.integers(len(ways))]
    holder = content
    for step in way:
        holder = holder[step]
    return content, holder, key


JSON: tuple[Mutator, ...] = (
    other_fact, lost_fact, deep_fact, flipped_bits, cut, swapped_blocks, inserted_bytes,
)  # fmt: skip
