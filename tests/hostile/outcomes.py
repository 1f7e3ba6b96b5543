"""What becomes of a damaged file: refused, harmless, or a fault of ours."""

from __future__ import annotations

import contextlib
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fcnrt
from frames import frames_of
from hostile.mutators import Mutator

SECONDS, KIB = 20, 1 << 20  # that a file may take, and of memory beyond what was in use
FRAMES = frames_of(1, 37, 45)
FINE = "refused", "harmless"
STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Hang(BaseException):
    """It took longer than SECONDS."""


@dataclass
class Trials:
    """Files of one kind, damaged by seed.

    Attributes:
        data: the file as it was made.
        mutators: that its kind is damaged by, in turn.
        target: where damaged ones are written.
        use: what is done with a file.
        alike: whether what that gave may come of a damaged file; its arguments are what came and what came before.
    """

    data: bytes
    mutators: tuple[Mutator, ...]
    target: Path
    use: Callable[[Path], Any]
    alike: Callable[[Any, Any], bool] = np.array_equal

    def __post_init__(self) -> None:
        self.target.write_bytes(self.data)
        self._expected = self.use(self.target)

    def run(self, seed: int) -> str:
        """The outcome of a seed, with the mutator's name where it is a fault."""
        change = self.mutators[seed % len(self.mutators)]
        self.target.write_bytes(change(self.data, np.random.default_rng(seed)))
        found = self._outcome()
        return found if found in FINE else f"{found} ({change.__name__}, seed {seed})"

    def _outcome(self) -> str:
        """One of FINE, "wrong labels", "hang", "blow-up", or "traceback" with what was raised."""
        before = _memory_kib()
        try:
            with _limited():
                found = self.use(self.target)
        except fcnrt.FcnrtError as error:
            fine = "refused" if str(error).isprintable() else "traceback: a text that is not one line"
        except Hang:
            return "hang"
        except Exception as error:
            return f"traceback: {type(error).__name__}"
        else:
            fine = "harmless" if self.alike(found, self._expected) else "wrong labels"
        return "blow-up" if _memory_kib("VmHWM") - before > KIB else fine


def labels_of(path: Path, device: str = "cpu") -> np.ndarray:
    with warnings.catch_warnings(), fcnrt.Segmenter(path, device=device, threads=1) as segment:
        warnings.simplefilter("ignore")
        return np.asarray(segment(FRAMES))


def _memory_kib(name: str = "VmRSS") -> int:
    """Memory in use; the highest since the last such question as "VmHWM"; 0 where the system does not tell."""
    if not STATUS.exists():
        return 0
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    with contextlib.suppress(OSError):
        REFERENCES.write_text("5")  # from now on the highest is counted anew
    return int(lines[name].split()[0])


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
