"""Tables of facts: a dataclass whose fields are the keys of a JSON object, each with its parser and writer in one line.

A key is added by adding a field. Files that were written before have no such key: give the field a default, or raise
the format's number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .validation import Parser

Table = TypeVar("Table")


def fact(parse: Parser[Any], write: Callable[[Any], Any] = lambda value: value, key: str = "") -> dict[str, Any]:
    """Metadata of a dataclass's field that stands in files.

    Args:
        parse: from what JSON gives.
        write: to what JSON takes.
        key: in the file, if it is another than the field's name.
    """
    return {"parse": parse, "write": write, "key": key}


def parsed(table: Callable[..., Table], values: Mapping[str, Any], **others: Any) -> Table:
    """A dataclass made of a JSON object.

    Args:
        table: the dataclass.
        values: what JSON gave; keys that are no facts are ignored.
        others: fields that are none.

    Raises:
        KeyError: a fact is missing.
        TypeError, ValueError: as its parser says.
    """
    for field in _facts(table):
        key = key_of(field)
        if key in values or field.default is dataclasses.MISSING:
            others[field.name] = field.metadata["parse"](values[key])
    return table(**others)


def written(table: Any) -> dict[str, Any]:
    """The facts of a dataclass as a JSON object, in the order of its fields."""
    return {key_of(field): field.metadata["write"](getattr(table, field.name)) for field in _facts(table)}


def keys(table: Any) -> list[str]:
    """The keys of a dataclass's facts."""
    return [key_of(field) for field in _facts(table)]


def key_of(field: dataclasses.Field[Any]) -> str:
    """The key that stands in files for a field."""
    return field.metadata["key"] or field.name


def _facts(table: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(table) if "parse" in field.metadata]
