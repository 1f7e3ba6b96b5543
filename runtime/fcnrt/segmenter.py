"""Frames to labels: the one class that most programs need."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .backends import open_backend
from .errors import FrameError, UsageError
from .palette import named_palette
from .reference_ops import label_dtype
from .spec import ModelSpec

Array = npt.NDArray[Any]
MAX_THREADS = 1024


class Segmenter:
    """A loaded model, called with frames, giving labels.

    One Segmenter serves one thread at a time; a call from a second thread raises `UsageError` instead of mixing frames.

    Args:
        path: a file made by export/to_onnx.py.
        device: "auto" (the fastest this machine has), "cpu", "cuda" or "cuda:N".
        threads: threads of the engine on the CPU (default: all cores).
        color: "rgb" or "bgr", the channel order of the frames you give (default: the file's own, see `spec.color`).

    Raises:
        ModelFileError: the file is missing, damaged, foreign or of a newer format.
        MissingDependency: the package of the file's engine is not installed.
        BackendError: the engine or the device refuses.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        color: Literal["rgb", "bgr"] | None = None,
    ):
        if color not in (None, "rgb", "bgr"):
            raise UsageError(f"color: expected 'rgb' or 'bgr', got {color!r}")
        if threads is not None and (type(threads) is not int or not 1 <= threads <= MAX_THREADS):
            raise UsageError(f"threads: expected 1 to {MAX_THREADS}, got {threads!r}")
        self._path = Path(path)
        self._backend = open_backend(self._path, device, threads, color)
        self._busy = threading.Lock()
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        """What the model file says of itself."""
        return self._backend.spec

    @property
    def device(self) -> str:
        """Where the network runs: "cpu" or "cuda:N"."""
        return self._backend.device

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in label order."""
        return self.spec.classes

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """RGB colours of the classes, uint8 (C, 3)."""
        palette = self.spec.palette
        return named_palette(palette, len(self.classes)) if isinstance(palette, str) else np.array(palette, np.uint8)

    def __call__(self, frames: npt.NDArray[np.uint8]) -> Array:
        """Label every pixel.

        Args:
            frames: uint8 (H, W, 3), or a batch (N, H, W, 3), of any strides.

        Returns:
            Labels (H, W) or (N, H, W), uint8, or uint16 where the model has more than 256 classes; a new array.

        Raises:
            FrameError: wrong type, shape or size.
            UsageError: called while another call runs, or after `close`.
            BackendError: the engine failed.
        """
        with self._exclusive():
            batch = self._as_batch(frames)
            labels = np.empty(batch.shape[:3], label_dtype(len(self.classes)))
            self._backend.labels(batch, labels)
        return labels if frames.ndim == 4 else labels[0]

    def scores(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The logits before the network's last upsampling, for those who need probabilities.

        `fcnrt.softmax(fcnrt.upsample(scores, height, width, segment.spec.tail))` gives full-size ones.

        Args:
            frames: uint8 (H, W, 3), or a batch (N, H, W, 3), of any strides.

        Returns:
            float32 (N, C, h, w), N being 1 for a single frame; a new array.

        Raises:
            FrameError, UsageError, BackendError: as in a call.
        """
        with self._exclusive():
            return np.array(self._backend.scores(self._as_batch(frames)))

    def stream(
        self, frames: Iterable[npt.NDArray[np.uint8]], depth: int = 2
    ) -> Iterator[tuple[npt.NDArray[np.uint8], Array]]:
        """Label a sequence of frames while the next ones are being fetched.

        While it runs the Segmenter is in use: `scores` or a call of your own would raise UsageError.

        Args:
            frames: any iterable of frames (or batches); it is advanced in the caller's thread, at most `depth` ahead,
                and must not reuse the memory of a frame that was not yielded yet.
            depth: frames in flight, at least 1.

        Yields:
            (frame, labels) in the order of `frames`.

        Raises:
            FrameError, UsageError, BackendError: as in a call, when the turn of that frame has come.
            Any error of `frames` itself: after the frames before it were yielded.
        """
        if depth < 1:
            raise UsageError(f"depth: expected at least 1, got {depth}")
        with ThreadPoolExecutor(1, thread_name_prefix="fcnrt") as worker:
            flying: deque[tuple[npt.NDArray[np.uint8], Future[Array]]] = deque()
            source, failure = iter(frames), None
            try:
                while True:
                    try:
                        frame = next(source)
                    except Exception as error:  # StopIteration too: first the frames in flight, then the end
                        failure = error
                        break
                    flying.append((frame, worker.submit(self, frame)))
                    if len(flying) >= depth:
                        yield _landed(flying)
                while flying:
                    yield _landed(flying)
                if not isinstance(failure, StopIteration):
                    raise failure
            finally:
                for _, labels in flying:
                    labels.cancel()

    def close(self) -> None:
        """Free the engine; a second call does nothing."""
        self._closed = True
        self._backend.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self._closed:
            raise UsageError(f"{self._path}: this Segmenter was closed; make a new one")
        if not self._busy.acquire(blocking=False):
            raise UsageError(f"{self._path}: this Segmenter is in use by another thread; make one per thread")
        try:
            yield
        finally:
            self._busy.release()

    def _as_batch(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Checked frames as a C-contiguous batch (N, H, W, 3)."""
        if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8:
            kind = f"{frames.dtype} array" if isinstance(frames, np.ndarray) else type(frames).__name__
            raise FrameError(
                f"frames: expected a uint8 numpy array, got {kind}; convert with np.asarray(..., np.uint8)"
            )
        if frames.ndim not in (3, 4) or frames.shape[-1] != 3 or 0 in frames.shape:
            raise FrameError(f"frames: expected shape (H, W, 3) or (N, H, W, 3), got {frames.shape}")
        batch = frames if frames.ndim == 4 else frames[None]
        self._check_size(batch.shape)
        return np.ascontiguousarray(batch)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        names = ("batch", "height", "width")
        for name, size, fixed in zip(names, shape, self._backend.fixed_shape, strict=False):
            if fixed is not None and size != fixed:
                raise FrameError(
                    f"frames: expected {name} {fixed} (fixed in {self._path.name}), got {size}; "
                    f"resize, or export without --{name}"
                )
        if min(shape[1:3]) < self.spec.min_size:
            raise FrameError(
                f"frames: expected at least {self.spec.min_size}x{self.spec.min_size} ({self.spec.family} "
                f"{self.spec.variant}), got {shape[1]}x{shape[2]}; pad or enlarge them"
            )


def _landed(flying: deque[tuple[npt.NDArray[np.uint8], Future[Array]]]) -> tuple[npt.NDArray[np.uint8], Array]:
    frame, labels = flying.popleft()
    return frame, labels.result()
