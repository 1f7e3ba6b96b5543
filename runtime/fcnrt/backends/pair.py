"""Two frames of a stream at once on the CPU, each on half of the threads: more frames a second, each of them later.

Two halves of a processor wait for one another less than all of it does at the end of every layer. A pair of networks
is loaded beside the one that has all threads, once a stream has run for so long that this pays, and where there is
memory for it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress

from ..contract.types import Confidence, Frames, Labels, Shape
from ..errors import FcnrtError
from .base import Backend
from .memory import available_bytes
from .recent import Recent

GAIN = 0.1  # of the time that two at once save: 0.2 to 0.3 on a busy machine, a few hundredths on an idle one
SHARE = 0.5  # of the memory that is free, for a pair
MAX_SHAPES = 64  # that are remembered

OpenLanes = Callable[[], Sequence[Backend]]


class Pair:
    """Backends that label at the same time, each in a thread of its own.

    Args:
        lanes: the backends.
    """

    def __init__(self, lanes: Sequence[Backend]):
        self._lanes, unused = lanes, list(lanes)
        self._own, self._submitted = threading.local(), list[Future[None]]()

        def take() -> None:
            self._own.lane = unused.pop()

        self._workers = ThreadPoolExecutor(len(lanes), thread_name_prefix="fcnrt pair", initializer=take)

    def submit(self, frames: Frames, labels: Labels, confidence: Confidence | None) -> Future[None]:
        """Label frames as soon as one of them is free; raises RuntimeError when the program ends."""
        future = self._workers.submit(self._label, frames, labels, confidence)
        self._submitted = [*(earlier for earlier in self._submitted if not earlier.done()), future]
        return future

    def wait(self) -> None:
        """Wait until nothing is being labelled."""
        wait(self._submitted)

    def close(self) -> None:
        """Finish what was submitted, and free the backends; a second call does nothing."""
        self._workers.shutdown()
        for lane in self._lanes:
            lane.close()

    def _label(self, frames: Frames, labels: Labels, confidence: Confidence | None) -> None:
        self._own.lane.label(frames, labels, confidence)


class Pairing:
    """Whether there is a pair for the frames of a stream.

    Args:
        open_lanes: loads the backends of a pair, none where labels would be others; raises FcnrtError.
        memory: bytes that a pair needs for frames of a shape.
        loading_s: seconds that loading it takes, about; infinite where there is to be none.
    """

    def __init__(self, open_lanes: OpenLanes, memory: Callable[[Shape], float], loading_s: float):
        self._open_lanes, self._memory, self._loading_s = open_lanes, memory, loading_s
        self._room: Recent[bool] = Recent(MAX_SHAPES)
        self._alone_s, self._pair = 0.0, None

    _pair: Pair | None

    def count(self, seconds: float) -> None:
        """Take account of the time that a frame of a stream took without a pair."""
        self._alone_s += seconds

    def pair_for(self, shape: Shape) -> Pair | None:
        """The pair, loaded when its first frames come; None where frames of a shape go one after another."""
        if self._alone_s * GAIN < self._loading_s or not self._room.get(shape, lambda: self._has_room(shape)):
            return None
        self._pair = self._pair or self._opened()
        return self._pair

    def wait(self) -> None:
        """Wait until the pair labels nothing."""
        if self._pair:
            self._pair.wait()

    def close(self) -> None:
        """Free the pair; a second call does nothing."""
        if self._pair:
            self._pair.close()

    def _has_room(self, shape: Shape) -> bool:
        return self._memory(shape) <= SHARE * available_bytes()

    def _opened(self) -> Pair | None:
        """A new pair; none, now and later, where the file has gone meanwhile, or the engine refuses."""
        with suppress(FcnrtError), ThreadPoolExecutor(1) as aside:  # where no interrupt meets the engine's own code
            if lanes := aside.submit(self._open_lanes).result():
                return Pair(lanes)
        self._loading_s = math.inf
        return None
