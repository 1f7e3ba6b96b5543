"""What becomes of a damaged model file: refused, harmless, or a fault of ours."""

from __future__ import annotations

import contextlib
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fcnrt
from frames import frames_of
from hostile.mutators import MUTATORS

SECONDS = 20
FRAMES = frames_of(1, 37, 45)
FINE = "refused", "harmless"


class Hang(BaseException):
    """It took longer than SECONDS."""


def labels_of(path: Path) -> np.ndarray:
    with warnings.catch_warnings(), fcnrt.Segmenter(path, device="cpu", threads=1) as segment:
        warnings.simplefilter("ignore")
        return np.asarray(segment(FRAMES))


def mutant(data: bytes, seed: int) -> tuple[str, bytes]:
    """The mutator's name and the file of a seed."""
    change = MUTATORS[seed % len(MUTATORS)]
    return change.__name__, change(data, np.random.default_rng(seed))


def outcome(path: Path, expected: np.ndarray) -> str:
    """One of FINE, "wrong labels", "hang", or "traceback" with what was raised."""
    try:
        with _limited():
            labels = labels_of(path)
    except fcnrt.FcnrtError as error:
        return "refused" if str(error).isprintable() else "traceback: a text that is not one line"
    except Hang:
        return "hang"
    except Exception as error:
        return f"traceback: {type(error).__name__}"
    return "harmless" if np.array_equal(labels, expected) else "wrong labels"


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def expire(number: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
