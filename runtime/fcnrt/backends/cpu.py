"""Frames to labels on the CPU with any engine: the order of work, and our own tail behind the network."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from ..contract.cores import cores
from ..contract.precision import Precision
from ..contract.tail import Tail, check_geometry
from ..contract.types import Confidence, Frames, Labels, Scores, Shape
from ..contract.windows import PictureFrames, Window
from ..ops.host import LabelUpsampler, argmax_labels, label_confidence
from ..ops.resizing import resized
from .base import Backend, Options
from .choice import Way, choose
from .frame_memory import check_memory, least_bytes_per_pixel
from .int8_rewrite import halve_weights, make_unsigned, saturates
from .network import MAX_SHAPES, WHOLE, CpuNetwork, Part
from .onnx_model import OnnxModel, check_fixed_shape
from .pair import Pairing
from .recent import Recent
from .tiling.grid import Grid
from .tiling.tiled import TiledNetwork, Tiling
from .tiling.windows import windows_by_tile

IN_FLIGHT = 4  # two that are worked on, and two that wait: neither half of the threads is to wait for the caller
OVERHEAD = 4.0  # engines take so many times what the first convolution holds


def open_on_cpu(model: OnnxModel, options: Options) -> CpuBackend:
    """An exported ONNX file on the CPU.

    Raises:
        ModelFileError: the file is damaged.
        MissingDependency: the engine's package is not installed.
        BackendError: the engine refuses the file, or the processor has not the precision.
        UsageError: the engine has not the precision, or the network cannot have tiles.
    """
    opener = Opener(model, options, choose(model, options))
    tiling = Tiling(model, options.tile)  # of the graph as it was read
    started = time.perf_counter()
    network = opener.part(model, WHOLE)
    return CpuBackend(opener, network, tiling, loading_s=time.perf_counter() - started)


class Opener(NamedTuple):
    """Opens networks of a model.

    Attributes:
        model: the file, its graph perhaps cut to what the network computes.
        options: the Segmenter's.
        way: the engine and its precision.
    """

    model: OnnxModel
    options: Options
    way: Way

    def part(self, model: OnnxModel, part: Part) -> CpuNetwork:
        """A network of a part of the model, as it was just read; errors as in `open_on_cpu`."""
        network: CpuNetwork = self._engine.open_network(_rewritten(model), *self._arguments, part)
        return network

    def again(self, part: Part) -> CpuNetwork:
        """A network of a part of the model, which is read again; raises ModelFileError where it is another."""
        return self.part(self.model.reread(), part)

    def pair(self) -> list[CpuBackend]:
        """Two that work at the same time, each with half of the threads; none where labels would be others."""
        networks = self._engine.open_pair(lambda: _rewritten(self.model.reread()), *self._arguments) or ()
        return [CpuBackend(self, network, Tiling(self.model, "off")) for network in networks]

    def memory_of_a_pair(self, shape: Shape) -> float:
        """Bytes that it needs for frames of a shape, as the network sees them, and for its weights."""
        each = OVERHEAD * least_bytes_per_pixel(self.model.proto.graph, self.way.precision) * math.prod(shape)
        return 2 * (self.model.file.stat().st_size + each)

    @property
    def _engine(self) -> Any:
        return import_module(f".{self.way.engine}", __package__)

    @property
    def _arguments(self) -> tuple[int | None, str, bool]:
        other_order = self.options.color not in (None, self.model.spec.color)
        return self.options.threads, self.way.precision, other_order


def _rewritten(model: OnnxModel) -> OnnxModel:
    """A model as all engines of the CPU want it."""
    if model.spec.precision == Precision.INT8:
        make_unsigned(model)
        if saturates():
            halve_weights(model)
    return model


class CpuBackend(Backend):
    """A network on the CPU, and our tail behind it.

    Args:
        opener: of more networks of the same model.
        network: the engine.
        tiling: how pictures are cut.
        loading_s: seconds that loading the network took; infinite where no second and third are to be loaded.
    """

    device = "cpu"

    def __init__(self, opener: Opener, network: CpuNetwork, tiling: Tiling, loading_s: float = math.inf):
        self._opener, self._model, self._options = opener, opener.model, opener.options
        self._network, self._tiling, self._tiled, self._loading_s = network, tiling, None, loading_s
        self.spec, self.engine = self._model.spec, network.engine
        in_integers = self.spec.precision == Precision.INT8 and network.precision == Precision.FP32
        self.precision = Precision.INT8.value if in_integers else network.precision
        self._bytes_per_pixel = least_bytes_per_pixel(self._model.proto.graph, self.precision)
        self.in_flight = IN_FLIGHT if (self._options.threads or cores()) > 1 else 1
        self._pairing = Pairing(opener.pair, opener.memory_of_a_pair, loading_s if self.in_flight > 1 else math.inf)
        self._alone: list[Future[None]] = []  # the frame of a stream that was submitted last, if all threads have it
        self._computing = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fcnrt")  # starts a thread when it is first needed
        self._upsamplers: Recent[LabelUpsampler] = Recent(MAX_SHAPES)

    _tiled: TiledNetwork | None

    def check_shape(self, shape: Shape) -> None:
        check_fixed_shape(shape, self._model.fixed_shape, self._model.path)
        grid = self._tiling.grid(shape)
        check_memory((shape[0], *grid.shape) if grid else shape, self._bytes_per_pixel)

    def grid(self, shape: Shape) -> Grid | None:
        return self._tiling.grid(self._shape_seen(shape))

    def label(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> None:
        with self._computing:  # an interrupted stream's last frame may still be in the worker's hands
            self._label(frames, labels, confidence)

    def _label(self, frames: Frames, labels: Labels, confidence: Confidence | None) -> None:
        self._mark("checks")
        seen = self._network_input(frames)
        grid = self.grid(frames.shape[:3])
        if grid:
            self._pairing.wait()  # tiles take the memory that there is
        if grid and self._labels_by_tile(seen.shape[1:3], frames.shape[1:3]):
            self._label_by_tile(seen, grid, labels, confidence)
            return
        scores = self._scores(seen, grid)
        self._mark("network")
        self._write_labels(scores, seen.shape[1:3], labels)
        self._mark("tail")
        if confidence is not None:
            label_confidence(scores, self.spec.tail, seen.shape[1:3], confidence)
            self._mark("confidence")

    def submit(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> Callable[[], None]:
        pair = self._pairing.pair_for(self._shape_seen(frames.shape[:3]))
        try:
            if pair:
                wait(self._alone)  # what goes alone has all threads and the memory to itself
                return pair.submit(frames, labels, confidence).result
            self._pairing.wait()
            self._alone = [self._worker.submit(self._label_in_stream, frames, labels, confidence)]
        except RuntimeError:  # the main thread has ended: workers take nothing any more
            return partial(self.label, frames, labels, confidence)
        return self._alone[0].result

    def _label_in_stream(self, frames: Frames, labels: Labels, confidence: Confidence | None) -> None:
        started = time.perf_counter()
        self.label(frames, labels, confidence)
        self._pairing.count(time.perf_counter() - started)

    def windows(self, picture: PictureFrames) -> Iterator[Window]:
        grid = self.grid(picture.frames)
        if grid is None or self._options.input_size:
            yield from super().windows(picture)
            return
        with self._computing:
            yield from windows_by_tile(self._tiled_network(), picture, grid, self.spec.tail)

    def scores(self, frames: Frames) -> Scores:
        with self._computing:
            return self._scores(self._network_input(frames), self.grid(frames.shape[:3]))

    def run_network(self, frames: Frames, times: int) -> None:
        seen, grid = self._network_input(frames), self.grid(frames.shape[:3])
        for _ in range(times):
            self._scores(seen, grid)

    def clone(self) -> CpuBackend:
        return CpuBackend(self._opener, self._network.clone(), self._tiling.clone(), self._loading_s)

    def close(self) -> None:
        self._worker.shutdown()
        self._pairing.close()
        if self._tiled:
            self._tiled.close()
        self._network.close()
        self._upsamplers.clear()

    def _shape_seen(self, shape: Shape) -> Shape:
        """The shape of frames as the network sees them."""
        batch, height, width = shape
        return (batch, *(self._options.input_size or (height, width)))

    def _network_input(self, frames: Frames) -> Frames:
        """What the network is to see: the frames themselves unless they are to be resized."""
        if self._options.input_size is None:
            return frames
        seen = resized(frames, self._options.input_size, self._options.antialias)
        self._mark("resizing")
        return seen

    def _scores(self, seen: Frames, grid: Grid | None) -> Scores:
        return self._network.scores(seen) if grid is None else self._tiled_network().scores(seen, grid)

    def _labels_by_tile(self, seen: tuple[int, int], frame_size: tuple[int, int]) -> bool:
        """Whether the scores are full size, which is too much to hold for the whole, and labels their argmax."""
        return self.spec.tail.kind == "none" and seen == frame_size and not self._tiled_network().has_head

    def _label_by_tile(self, seen: Frames, grid: Grid, labels: Labels, confidence: Confidence | None) -> None:
        for piece in self._tiled_network().pieces(seen, grid):
            values, pixels = piece.cropped(self.spec.tail.offset, labels.shape[1:])
            argmax_labels(values, labels[pixels])
            if confidence is not None:
                label_confidence(values, Tail("none"), values.shape[2:], confidence[pixels])

    def _tiled_network(self) -> TiledNetwork:
        if self._tiled is None:
            assert self._tiling.locality  # there is a grid
            self._tiled = TiledNetwork(self._tiling.locality, self._network, self._opener.again, self._mark)
        return self._tiled

    def _write_labels(self, scores: Scores, seen: tuple[int, int], labels: Labels) -> None:
        tail, frame_size = self.spec.tail, labels.shape[1:]
        check_geometry(tail, len(self.spec.classes), scores.shape, (len(scores), *seen), str(self._model.path))
        if tail.kind == "none" and seen == frame_size:
            rows, columns = (slice(tail.offset, tail.offset + side) for side in frame_size)
            argmax_labels(scores[:, :, rows, columns], labels)
            return
        key = scores.shape, frame_size, seen
        upsample = self._upsamplers.get(key, lambda: LabelUpsampler(tail, scores.shape, frame_size, seen))
        upsample(scores, labels)
