"""Values as JSON files give them, parsed: nothing is converted, and what is wrong is told in a few words.

A parser takes any value and gives it back in its type, or raises TypeError or ValueError.
"""

from __future__ import annotations

import contextlib
import math
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ..errors import FcnrtError, ModelFileError

Kind = TypeVar("Kind")
Parser = Callable[[Any], Kind]
MAX_COUNT = 2**31 - 1


@contextlib.contextmanager
def told(what: str, remedy: str) -> Iterator[None]:
    """What parsers raise in the block, as ModelFileError: "`what` (reason); `remedy`"."""
    try:
        yield
    except FcnrtError:
        raise
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(f"{what} ({reason}); {remedy}") from error


def check_format(key: str, number: Any, newest: int, source: str, remedy: str) -> None:
    """Refuse a format that this version does not read: raises ModelFileError."""
    if type(number) is not int or number < 1:
        raise ModelFileError(f"{source}: {key} is {reprlib.repr(number)}, expected {newest}; {remedy}")
    if number > newest:
        raise ModelFileError(
            f"{source}: {key} is {reprlib.repr(number)}, this fcnrt reads up to {newest}; upgrade fcnrt, or {remedy}"
        )


def exactly(kind: type[Kind]) -> Parser[Kind]:
    """A value that JSON gave as this type."""

    def parse(value: Any) -> Kind:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, got {reprlib.repr(value)}")
        return value

    return parse


def text(value: Any) -> str:
    """A text, not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"expected text, got {reprlib.repr(value)}")
    return value


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {reprlib.repr(value)}")
    return float(value)


def positive(value: Any) -> float:
    """A finite number above 0."""
    if number(value) <= 0:
        raise ValueError(f"expected a number above 0, got {reprlib.repr(value)}")
    return float(value)


def share(value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"expected a number from 0 to 1, got {reprlib.repr(value)}")
    return float(value)


def whole(least: int = 1, most: int = MAX_COUNT) -> Parser[int]:
    """A whole number within bounds."""

    def parse(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, got {reprlib.repr(value)}")
        return value

    return parse


def one_of(*choices: Kind) -> Parser[Kind]:
    """One of some values; where they are members of an enumeration, that member."""

    def parse(value: Any) -> Kind:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(map(str, choices))}, got {reprlib.repr(value)}")
        return choices[choices.index(value)]

    return parse


def each(parse: Parser[Kind]) -> Parser[tuple[Kind, ...]]:
    """A list, which may be empty."""

    def parse_each(value: Any) -> tuple[Kind, ...]:
        return tuple(map(parse, exactly(list)(value)))

    return parse_each


def several(parse: Parser[Kind], what: str) -> Parser[tuple[Kind, ...]]:
    """A list, not empty."""

    def parse_all(value: Any) -> tuple[Kind, ...]:
        if not isinstance(value, list) or not value:
            raise TypeError(f"expected {what}, got {reprlib.repr(value)}")
        return tuple(parse(each) for each in value)

    return parse_all


def triple(parse: Parser[Kind]) -> Parser[tuple[Kind, Kind, Kind]]:
    """A list of three."""

    def parse_three(value: Any) -> tuple[Kind, Kind, Kind]:
        if not isinstance(value, list) or len(value) != 3:
            raise ValueError(f"expected three values, got {reprlib.repr(value)}")
        first, second, third = map(parse, value)
        return first, second, third

    return parse_three


def by_name(parse: Parser[Kind]) -> Parser[dict[str, Kind]]:
    """An object whose values are of one kind."""

    def parse_each(value: Any) -> dict[str, Kind]:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected values by name, got {reprlib.repr(value)}")
        return {text(name): parse(each) for name, each in value.items()}

    return parse_each
