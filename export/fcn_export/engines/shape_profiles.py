"""Shape profiles: the range of frame shapes that an engine serves, and the one it is tuned for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fcnrt.contract.onnx_file import Fixed
from fcnrt.contract.profiles import DIMENSIONS, MAX_SIDE, Profile
from fcnrt.contract.types import Shape

from ..errors import ExportError

# Where nothing is asked for: a camera in any of the usual formats, one frame at a time.
DEFAULTS = (1, 1, 1), (64, 720, 1088), (64, 1280, 1920)  # min, opt and max of batch, height and width


def parse_shape(text: str) -> Shape:
    """A shape from the command line: 1x720x1280, or as trtexec writes it, frames:1x720x1280x3.

    Raises:
        ValueError: it is none; the text says what was expected.
    """
    name, colon, sizes = text.rpartition(":")
    if colon and name.strip("'\"") != "frames":
        raise ValueError(f"expected a shape of the input frames, got one of {name!r}")
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9}){2,3}", sizes):
        raise ValueError(f"expected BATCHxHEIGHTxWIDTH such as 1x720x1280, got {text!r}")
    batch, height, width, *channels = (int(size) for size in sizes.split("x"))
    if channels not in ([], [3]):
        raise ValueError(f"expected 3 channels at the end, or none, got {text!r}")
    return batch, height, width


def parse_profile(text: str) -> Profile:
    """A profile from the command line: MIN:OPT:MAX.

    Raises:
        ValueError: it is none; the text says what was expected.
    """
    shapes = text.split(":")
    if len(shapes) != 3:
        raise ValueError(f"expected MIN:OPT:MAX such as 1x256x256:1x720x1280:4x1088x1920, got {text!r}")
    return Profile(*(parse_shape(shape) for shape in shapes))


def chosen_profiles(
    profiles: Sequence[Profile], bounds: tuple[Shape | None, Shape | None, Shape | None], fixed: Fixed, min_size: int
) -> tuple[Profile, ...]:
    """The profiles to build: those given, or one of the bounds given, what is missing filled in.

    Args:
        profiles: whole profiles; excludes bounds.
        bounds: min, opt and max of the only profile, None where not given. A missing bound is the default,
            moved as far as the given ones demand.
        fixed: the dimensions that the file fixes.
        min_size: least height and width of the network.

    Raises:
        ExportError: both kinds are given, or a profile cannot be built for this file.
    """
    if profiles and any(bounds):
        raise ExportError("--profile: expected it without --min, --opt and --max, got both; use --profile alone")
    chosen = tuple(profiles) or (_completed(bounds, fixed, min_size),)
    for profile in chosen:
        _check(profile, fixed, min_size)
    return chosen


def _completed(bounds: tuple[Shape | None, Shape | None, Shape | None], fixed: Fixed, min_size: int) -> Profile:
    axes = []
    for axis, defaults in enumerate(_defaults(fixed, min_size)):
        axes.append(_completed_axis([shape[axis] if shape else None for shape in bounds], defaults))
    low, best, high = zip(*axes, strict=True)
    return Profile(low, best, high)


def _completed_axis(given: Sequence[int | None], defaults: tuple[int, int, int]) -> tuple[int, int, int]:
    low, best, high = given
    known = [size for size in given if size is not None]
    low = min([defaults[0], *known]) if low is None else low
    high = max([defaults[2], *known]) if high is None else high
    return low, min(max(defaults[1], low), high) if best is None else best, high


def _defaults(fixed: Fixed, min_size: int) -> list[tuple[int, int, int]]:
    """Min, opt and max of each dimension where nothing is asked for."""
    least = (1, min_size, min_size)
    return [
        (size, size, size) if size is not None else (max(low, floor), max(best, floor), max(high, floor))
        for size, floor, (low, best, high) in zip(fixed, least, DEFAULTS, strict=True)
    ]


def _check(profile: Profile, fixed: Fixed, min_size: int) -> None:
    for axis, (name, size) in enumerate(zip(DIMENSIONS, fixed, strict=True)):
        low, best, high = (shape[axis] for shape in profile.bounds)
        least = 1 if name == "batch" else min_size
        if not low <= best <= high:
            raise _refusal(profile, f"{name} min <= opt <= max", f"{low}, {best}, {high}", "put them in order")
        if size is not None and (low, high) != (size, size):
            raise _refusal(profile, f"{name} {size}, which the file fixes", f"{low} to {high}", "or export without it")
        if low < least:
            raise _refusal(profile, f"{name} of at least {least}", str(low), "raise the minimum")
        if high > MAX_SIDE:
            raise _refusal(profile, f"{name} of at most {MAX_SIDE}", str(high), "lower the maximum")


def _refusal(profile: Profile, expected: str, got: str, remedy: str) -> ExportError:
    return ExportError(f"profile {profile}: expected {expected}, got {got}; {remedy}")
