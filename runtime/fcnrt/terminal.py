"""Lines for people at a terminal."""

from __future__ import annotations


def one_line(error: object) -> str:
    """The text of an error, control characters escaped: file names may hold any."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(error))
