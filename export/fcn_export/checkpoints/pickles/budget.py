"""What reading a file may cost, whatever it says of itself: asked before the memory is taken or the work is done."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass

from ...errors import ExportError

MAX_GROWTH, ALWAYS_BYTES = 20, 1 << 26  # times a file's size, and bytes that any may have: weights barely shrink
MAX_STEPS = 5_000_000  # opcodes; a ResNet-101 with its optimiser takes 60,000
REFERENCE_BYTES = 64  # of an element that is copied into another container


def most_bytes(size: int) -> int:
    """How many bytes a file of a size may become."""
    return ALWAYS_BYTES + MAX_GROWTH * size


@dataclass
class Budget:
    """What is left of it."""

    nbytes: int
    steps: int = MAX_STEPS

    def take_steps(self, count: int) -> None:
        """Raise ExportError where a file has more steps than any checkpoint."""
        self.steps -= count
        if self.steps < 0:
            raise ExportError(f"takes more than {MAX_STEPS} steps to read, which no checkpoint does; is it one?")

    def take_bytes(self, count: int) -> None:
        """Raise ExportError where a file becomes many times larger than it is."""
        self.nbytes -= count
        if self.nbytes < 0:
            raise ExportError("declares many times more data than it has, which no checkpoint does; is it one?")

    def take_copy(self, value: object) -> None:
        """The bytes of a text, an array's content or a container, and of those that a tuple holds."""
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, (str, bytes, bytearray)):
                self.take_bytes(len(part))
            elif isinstance(part, Sized) and isinstance(part, (list, tuple, dict, set)):
                self.take_bytes(REFERENCE_BYTES * len(part))
