"""ONNX Runtime on the CPU: the network up to `scores`, then our own tail."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import BackendError, first_line
from ..ops.host import LabelUpsampler, argmax_labels, label_confidence
from ..ops.resizing import resized
from .base import Backend, Confidence, Frames, Labels, Options, Scores, Shape
from .onnx_model import OnnxModel, check_fixed_shape, load_package
from .recent import Recent

CPU = "CPUExecutionProvider"
MAX_SHAPES = 8  # frame shapes whose buffers are kept


class OrtBackend(Backend):
    """An exported ONNX file on the CPU.

    Args:
        path: the file.
        options: the Segmenter's.

    Raises:
        ModelFileError: the file is damaged, foreign or newer.
        MissingDependency: onnxruntime is not installed.
        BackendError: ONNX Runtime refuses the file.
    """

    device = "cpu"

    def __init__(self, path: Path, options: Options):
        model = OnnxModel(path)
        self.spec, self._fixed_shape = model.spec, model.fixed_shape
        self._path, self._options = path, options
        if options.color not in (None, model.spec.color):
            model.swap_channels()
        model.cut_at_scores()
        self._session = new_session(model, CPU, options.threads)
        self._begin()

    def check_shape(self, shape: Shape) -> None:
        check_fixed_shape(shape, self._fixed_shape, self._path)

    def label(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> None:
        scores, seen = self._run(frames)
        self._make_labels(scores, seen, labels)
        if confidence is not None:
            label_confidence(scores, self.spec.tail, seen, confidence)

    def submit(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> Callable[[], None]:
        return self._worker.submit(self.label, frames, labels, confidence).result

    def scores(self, frames: Frames) -> Scores:
        return self._run(frames)[0]

    def clone(self) -> OrtBackend:
        other = copy.copy(self)  # sessions serve many threads
        other._begin()
        return other

    def close(self) -> None:
        self._worker.shutdown()
        self._session = None
        self._scores.clear()
        self._tails.clear()

    def _begin(self) -> None:
        """Make what one thread needs for itself."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fcnrt")
        self._scores: Recent[Scores] = Recent(MAX_SHAPES)
        self._tails: Recent[LabelUpsampler] = Recent(MAX_SHAPES)

    def _run(self, frames: Frames) -> tuple[Scores, tuple[int, int]]:
        """The scores, in a buffer that the next frames of this shape overwrite, and the size that the network saw."""
        size = self._options.input_size
        seen = resized(frames, size, self._options.antialias) if size else frames
        buffer = self._scores.find(seen.shape)
        with engine_errors(f"failed on frames of shape {seen.shape}"):
            if buffer is None:  # the first scores of a shape become the buffer of those that follow
                buffer = self._session.run(["scores"], {"frames": seen})[0]
                self._scores.keep(seen.shape, buffer)
            else:
                self._run_into(seen, buffer)
        return buffer, seen.shape[1:3]

    def _run_into(self, frames: Frames, scores: Scores) -> None:
        binding = self._session.io_binding()
        binding.bind_input("frames", "cpu", 0, frames.dtype.type, frames.shape, frames.ctypes.data)
        binding.bind_output("scores", "cpu", 0, scores.dtype.type, scores.shape, scores.ctypes.data)
        self._session.run_with_iobinding(binding)

    def _make_labels(self, scores: Scores, seen: tuple[int, int], labels: Labels) -> None:
        tail, frame_size = self.spec.tail, labels.shape[1:]
        if tail.kind == "none" and seen == frame_size:
            rows, columns = (slice(tail.offset, tail.offset + side) for side in frame_size)
            argmax_labels(scores[:, :, rows, columns], labels)
            return
        key = scores.shape, frame_size, seen
        upsample = self._tails.get(key, lambda: LabelUpsampler(tail, scores.shape, frame_size, seen))
        upsample(scores, labels)


def new_session(model: OnnxModel, provider: Any, threads: int | None) -> Any:
    """An ONNX Runtime session of a model, which is used up; raises BackendError where ONNX Runtime refuses it."""
    ort = load_runtime()
    with engine_errors(f"cannot load {model.path}"):
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors reach the caller as exceptions, warnings are not for users
        options.intra_op_num_threads = threads or 0
        return ort.InferenceSession(model.handed_over(), options, providers=[provider])


def load_runtime() -> Any:
    """onnxruntime, silenced; raises MissingDependency."""
    ort = load_package("onnxruntime")
    ort.disable_telemetry_events()
    ort.set_default_logger_severity(4)
    return ort


@contextlib.contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """ONNX Runtime's exceptions, which share no base class, as one of ours."""
    try:
        yield
    except Exception as error:
        raise BackendError(f"ONNX Runtime: {doing}: {first_line(error)}") from error
