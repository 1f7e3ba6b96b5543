"""Frames to labels on the CPU with any engine: the order of work, and our own tail behind the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from ..contract.precision import Precision
from ..contract.types import Confidence, Frames, Labels, Scores, Shape
from ..ops.host import LabelUpsampler, argmax_labels, label_confidence
from ..ops.resizing import resized
from .base import Backend, Options
from .choice import choose
from .frame_memory import check_memory, least_bytes_per_pixel
from .onnx_model import OnnxModel, check_fixed_shape
from .recent import Recent

MAX_SHAPES = 8  # shapes whose tables are kept


class CpuNetwork(ABC):
    """An engine on the CPU: the part between frames and scores, for one thread at a time.

    Attributes:
        engine: its name and version.
        precision: that it really computes in what the file has in floats, "fp32" or "bf16".
    """

    engine: str
    precision: str

    @abstractmethod
    def scores(self, frames: Frames) -> Scores:
        """The scores of frames, in an array that the next call may overwrite; raises BackendError."""

    @abstractmethod
    def clone(self) -> CpuNetwork:
        """One for another thread, with the same weights in memory."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds; a second call does nothing."""


def open_on_cpu(model: OnnxModel, options: Options) -> CpuBackend:
    """An exported ONNX file on the CPU.

    Raises:
        ModelFileError: the file is damaged.
        MissingDependency: the engine's package is not installed.
        BackendError: the engine refuses the file, or the processor has not the precision.
        UsageError: the engine has not the precision.
    """
    way = choose(model, options)
    engine = import_module(f".{way.engine}", __package__)
    other_order = options.color not in (None, model.spec.color)
    return CpuBackend(model, engine.open_network(model, options.threads, way.precision, other_order), options)


class CpuBackend(Backend):
    """A network on the CPU, and our tail behind it.

    Args:
        model: the file; its graph is not needed any more.
        network: the engine.
        options: the Segmenter's.
    """

    device, in_flight = "cpu", 1

    def __init__(self, model: OnnxModel, network: CpuNetwork, options: Options):
        self._model, self._network, self._options = model, network, options
        self.spec, self.engine = model.spec, network.engine
        in_integers = model.spec.precision == Precision.INT8 and network.precision == Precision.FP32
        self.precision = Precision.INT8.value if in_integers else network.precision
        self._bytes_per_pixel = least_bytes_per_pixel(model.proto.graph, self.precision)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fcnrt")  # starts a thread when it is first needed
        self._upsamplers: Recent[LabelUpsampler] = Recent(MAX_SHAPES)

    def check_shape(self, shape: Shape) -> None:
        check_fixed_shape(shape, self._model.fixed_shape, self._model.path)
        check_memory(shape, self._bytes_per_pixel)

    def label(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> None:
        self._mark("checks")
        seen = self._network_input(frames)
        scores = self._network.scores(seen)
        self._mark("network")
        self._write_labels(scores, seen.shape[1:3], labels)
        self._mark("tail")
        if confidence is not None:
            label_confidence(scores, self.spec.tail, seen.shape[1:3], confidence)
            self._mark("confidence")

    def submit(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> Callable[[], None]:
        return self._worker.submit(self.label, frames, labels, confidence).result

    def scores(self, frames: Frames) -> Scores:
        return self._network.scores(self._network_input(frames))

    def run_network(self, frames: Frames, times: int) -> None:
        seen = self._network_input(frames)
        for _ in range(times):
            self._network.scores(seen)

    def clone(self) -> CpuBackend:
        return CpuBackend(self._model, self._network.clone(), self._options)

    def close(self) -> None:
        self._worker.shutdown()
        self._network.close()
        self._upsamplers.clear()

    def _network_input(self, frames: Frames) -> Frames:
        """What the network is to see: the frames themselves unless they are to be resized."""
        if self._options.input_size is None:
            return frames
        seen = resized(frames, self._options.input_size, self._options.antialias)
        self._mark("resizing")
        return seen

    def _write_labels(self, scores: Scores, seen: tuple[int, int], labels: Labels) -> None:
        tail, frame_size = self.spec.tail, labels.shape[1:]
        if tail.kind == "none" and seen == frame_size:
            rows, columns = (slice(tail.offset, tail.offset + side) for side in frame_size)
            argmax_labels(scores[:, :, rows, columns], labels)
            return
        key = scores.shape, frame_size, seen
        upsample = self._upsamplers.get(key, lambda: LabelUpsampler(tail, scores.shape, frame_size, seen))
        upsample(scores, labels)
