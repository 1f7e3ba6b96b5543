"""Types of command-line arguments; wrong ones are told by argparse in one line."""

from __future__ import annotations

import argparse
import math
import re
from fractions import Fraction
from typing import Literal

from ..cluster.stores import check_address
from ..contract.certificate import checked_points
from ..errors import MediaError
from ..pictures.legends import WHICH
from ..video.region import Region

MOST_DIGITS = 18


def _whole(text: str) -> int:
    """A whole number; -1 where it is none, or of more digits than anything here counts."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else -1


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def points(text: str) -> float:
    """Points of mean IoU."""
    try:
        return checked_points(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected points of mean IoU such as 0.1, got {text!r}") from None


def size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH."""
    height, _, width = text.partition("x")
    if min(_whole(height), _whole(width)) < 1:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, such as 512x1024, got {text!r}")
    return _whole(height), _whole(width)


def legend_of(text: str) -> str:
    """Which classes a legend lists."""
    if text not in WHICH:
        raise argparse.ArgumentTypeError(
            f"expected all or present, got {text!r}; before the model or an input write --legend=present"
        )
    return text


def tile(text: str) -> Literal["auto", "off"] | int:
    """auto, off or the side of a tile."""
    if text in ("auto", "off"):
        return "off" if text == "off" else "auto"
    if _whole(text) < 1:
        raise argparse.ArgumentTypeError(f"expected auto, off or a tile's side in pixels, such as 2048, got {text!r}")
    return int(text)


def levels(text: str) -> tuple[float, float]:
    """LOW-HIGH."""
    match = re.fullmatch(r"(-?[\d.]+(?:e[+-]?\d+)?)-(-?[\d.]+(?:e[+-]?\d+)?)", text)
    try:
        low, high = map(float, match.groups() if match else ())
        if low < high:
            return low, high
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected LOW-HIGH with LOW below HIGH, such as 0-4095, got {text!r}")


def bands(text: str) -> tuple[int, ...]:
    """Numbers of bands: R,G,B or a grey one."""
    numbers = text.split(",")
    if len(numbers) not in (1, 3) or min(map(_whole, numbers)) < 1:
        raise argparse.ArgumentTypeError(f"expected R,G,B or one number, counted from 1, such as 4,3,2, got {text!r}")
    return tuple(map(_whole, numbers))


def bitrate(text: str) -> int:
    """Bits per second: 800k, 2M, 2500000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    value = float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]] if match else 0.0
    if not 1_000 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"expected bits per second, such as 800k or 2M, got {text!r}")
    return round(value)


def rate(text: str) -> Fraction:
    """Frames per second: 25, 29.97 or 30000/1001."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"expected frames per second above 0, such as 30000/1001, got {text!r}")
    return value


def key_value(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, such as fflags=nobuffer, got {text!r}")
    return key, value


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if _whole(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """A whole number from 0 up."""
    if _whole(text) < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 up, got {text!r}")
    return int(text)


def gpus(text: str) -> float:
    """A part of one GPU, or several whole ones."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value <= 1 or (value > 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(f"expected a part of a GPU or a whole number, such as 0.5 or 2, got {text!r}")
    return value


def store(text: str) -> str:
    """The address of a folder in an object store."""
    try:
        check_address(text)
    except MediaError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text.rstrip("/")


def seconds(text: str) -> float:
    """A time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value


def duration(text: str) -> float:
    """Seconds above 0, or minutes or hours: 90, 90s, 1.5m, 1h."""
    factors = {"s": 1, "m": 60, "h": 3600}
    number, factor = (text[:-1], factors[text[-1]]) if text[-1:] in factors else (text, 1)
    try:
        return factor * seconds(number)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected a time above 0, such as 90s, 10m or 1h, got {text!r}") from None


def region(text: str) -> Region:
    """X,Y,W,H."""
    match = re.fullmatch(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", text)
    part = Region(*map(int, match.groups())) if match else None
    if part is None or 0 in part[2:]:
        raise argparse.ArgumentTypeError(f"expected X,Y,W,H in pixels, with width and height above 0, got {text!r}")
    return part
