"""A test source: shapes that move over a gradient, each frame with its number in its pixels."""

from __future__ import annotations

import re
import time
import zlib
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...contract.types import UInt8Array
from ...errors import FrameError, MediaError
from ..frames import Frame
from .reader import Reader

NUMBERS = 1 << 24  # that a stamp can tell apart; larger ones start again from 0

_ROWS, _COLUMNS = 4, 16  # of a stamp's cells: two for each of the number's 24 bits and of its checksum's 8
_SMALLEST_SIDE, _LARGEST_SIDE = 2, 16  # of a cell, in pixels
_CONTRAST = 12  # between a bit's two cells, below which it is unreadable; 255 as stamped

_PATTERN = re.compile(r"test(-live)?:(?:(\d+)x(\d+))?(?:@(\d+(?:\.\d+|/\d+)?))?(?:\*(\d+))?")
_DEFAULT_SIZE, _DEFAULT_RATE = (480, 640), Fraction(30)


class Generated(Reader):
    """Makes frames that are the same every time: three shapes on their ways over a gradient, stamped with their number.

    Args:
        where: `test:HxW@RATE*FRAMES`, such as `test:480x640@30*300`; each part may be left out: 480x640, 30 frames per
            second, without end. With `test-live:` the frames come when they are due, as a camera's do.
        clock: `time.monotonic`, or a test's.

    Raises:
        MediaError: the pattern is another, or the size too small for a stamp.
    """

    color: Literal["rgb", "nv12"] = "rgb"

    def __init__(self, where: str = "test:", *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.name, self.faults = where, Counter[str]()
        self.size, self.rate, self.frame_count, self.live = _parsed(where)
        self._scene, self._clock = _Scene(*self.size), clock
        self._number, self._started = 0, 0.0

    def _read(self) -> Frame | None:
        number, due = self._number, self._number / self._rate
        if number == self.frame_count:
            return None
        if self.live:
            self._await(float(due))
        self._number += 1
        return Frame(self._scene.picture(number), due, number, self._clock())

    def _release(self) -> None:
        pass

    @property
    def _rate(self) -> Fraction:
        return self.rate or _DEFAULT_RATE

    def _await(self, due: float) -> None:
        # Late frames come at once: like a network's buffer, it hands over every frame.
        self._started = self._started or self._clock()
        self._closing.wait(max(0.0, self._started + due - self._clock()))


def stamp(pixels: UInt8Array, number: int) -> None:
    """Write a number into a picture's upper left corner, to be read after encoding, blending and decoding.

    Each bit is a black and a white cell side by side, so that only their order counts.

    Args:
        pixels: (H, W, 3) uint8, at least 8x32; changed in place.
        number: modulo 2**24.
    """
    side = _side(*pixels.shape[:2])
    cells = np.where(_bits(number % NUMBERS), 255, 0).astype(np.uint8)
    pairs = np.stack((cells, 255 - cells), axis=-1).reshape(_ROWS, _COLUMNS)
    rows = pairs.repeat(3 * side, axis=1).reshape(_ROWS, 1, _COLUMNS * side, 3)
    pixels[: _ROWS * side, : _COLUMNS * side] = rows.repeat(side, axis=1).reshape(-1, _COLUMNS * side, 3)


def read_stamp(pixels: UInt8Array) -> int:
    """Read the number that `stamp` wrote into a picture of the same size.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        the number.

    Raises:
        FrameError: there is no stamp, or it is damaged: the contrast is lost, or the checksum is wrong.
    """
    side = _side(*pixels.shape[:2])
    margin = side // 4  # cells bleed into each other
    cells = pixels[: _ROWS * side, : _COLUMNS * side].reshape(_ROWS, side, _COLUMNS, side, 3)
    means = cells[:, margin : side - margin, :, margin : side - margin].mean(axis=(1, 3, 4))
    first, second = means.reshape(-1, 2).T
    bits = first > second
    number = int.from_bytes(np.packbits(bits[:24]).tobytes(), "big")
    if abs(first - second).min() < _CONTRAST or not np.array_equal(bits, _bits(number)):
        raise FrameError("stamp: expected a frame number in the upper left corner, found none or a damaged one")
    return number


def _bits(number: int) -> npt.NDArray[np.bool_]:
    """(32,): the number's, and eight of its checksum."""
    digits = number.to_bytes(3, "big")
    checksum = zlib.crc32(digits) & 0xFF
    return np.unpackbits(np.frombuffer(digits + bytes([checksum]), np.uint8)).astype(bool)


def _side(height: int, width: int) -> int:
    """Of a cell, in pixels: a stamp takes up to two fifths of the width."""
    if height < _ROWS * _SMALLEST_SIDE or width < _COLUMNS * _SMALLEST_SIDE:
        raise FrameError(f"stamp: expected a frame of at least 8x32 pixels, got {height}x{width}")
    return max(_SMALLEST_SIDE, min(_LARGEST_SIDE, height // (2 * _ROWS), width * 2 // (5 * _COLUMNS)))


class _Scene:
    """Draws what a frame shows by its number: sprites cut out once, pasted onto a copy of the gradient."""

    def __init__(self, height: int, width: int) -> None:
        down, right = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
        channels = np.broadcast_arrays(60 + 90 * right, 90 + 70 * down, 170 - 50 * right * down)
        self._ground = np.stack(channels, axis=-1).astype(np.uint8)
        side = max(2, min(height, width) // 4)
        y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        masks = (y * y + x * x <= 1, np.maximum(abs(y), abs(x)) <= 0.8, abs(x) <= (y + 1) / 2)
        colours = ((200, 60, 50), (60, 180, 80), (230, 200, 70))
        # A hole to stamp out by "and", a shape to put in by "or": ten times as fast as np.where.
        self._sprites = [
            (
                np.where(mask[..., None], 0, np.full(3, 255, np.uint8)),
                np.where(mask[..., None], np.array(colour, np.uint8), 0),
            )
            for mask, colour in zip(masks, colours, strict=True)
        ]
        self._range = height - side, width - side

    def picture(self, number: int) -> UInt8Array:
        """(H, W, 3): the frame of this number."""
        pixels = self._ground.copy()
        for index, (hole, shape) in enumerate(self._sprites):
            top = _bounced((2 + index) * number + 40 * index, self._range[0])
            left = _bounced((4 - index) * number + 70 * index, self._range[1])
            under = pixels[top : top + len(hole), left : left + len(hole)]
            under &= hole
            under |= shape
        stamp(pixels, number)
        return pixels


def _bounced(way: int, span: int) -> int:
    """Where something is that goes to and fro in `span` pixels, after `way` pixels."""
    return abs((way + span) % (2 * span) - span) if span else 0


def _parsed(where: str) -> tuple[tuple[int, int], Fraction, int | None, bool]:
    """Size, rate, number of frames and whether they are paced."""
    match = _PATTERN.fullmatch(where)
    if not match:
        raise MediaError(f"{where}: expected test:HxW@RATE*FRAMES, such as test:480x640@30*300")
    live, height, width, rate, count = match.groups()
    size = (int(height), int(width)) if height else _DEFAULT_SIZE
    try:
        _side(*size)
        per_second = Fraction(rate) if rate else _DEFAULT_RATE
        _ = 1 / per_second
    except (ZeroDivisionError, FrameError) as error:
        raise MediaError(f"{where}: expected a rate above 0 and a size of at least 8x32") from error
    return size, per_second, int(count) if count else None, bool(live)
