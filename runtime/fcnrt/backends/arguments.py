"""The arguments of a Segmenter, checked."""

from __future__ import annotations

from typing import Any

from ..contract.certificate import checked_points
from ..contract.profiles import MAX_SIDE
from ..errors import UsageError

MAX_THREADS = 1024


def check_threads(threads: Any) -> None:
    if threads is not None and (type(threads) is not int or not 1 <= threads <= MAX_THREADS):
        raise UsageError(f"threads: expected 1 to {MAX_THREADS}, got {threads!r}")


def check_color(color: Any) -> None:
    if color not in (None, "rgb", "bgr"):
        raise UsageError(f"color: expected 'rgb' or 'bgr', got {color!r}")


def check_one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def check_tile(tile: Any) -> None:
    if tile not in ("auto", "off") and not (type(tile) is int and 1 <= tile <= MAX_SIDE):
        raise UsageError(f"tile: expected 'auto', 'off' or a side in pixels, 1 to {MAX_SIDE}, got {tile!r}")


def points_required(points: Any) -> float:
    try:
        return checked_points(points)
    except ValueError as error:
        raise UsageError(f"require_parity: {error}") from None


def checked_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides):
        raise UsageError(f"input_size: expected (height, width), each 1 to {MAX_SIDE}, got {size!r}")
    return sides
