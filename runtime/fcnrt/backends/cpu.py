"""Frames to labels on the CPU with any engine: the order of work, and our own tail behind the network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module

from ..contract.precision import Precision
from ..contract.tail import Tail, check_geometry
from ..contract.types import Confidence, Frames, Labels, Scores, Shape
from ..contract.windows import PictureFrames, Window
from ..ops.host import LabelUpsampler, argmax_labels, label_confidence
from ..ops.resizing import resized
from .base import Backend, Options
from .choice import choose
from .frame_memory import check_memory, least_bytes_per_pixel
from .int8_rewrite import make_unsigned
from .network import MAX_SHAPES, WHOLE, CpuNetwork, Part
from .onnx_model import OnnxModel, check_fixed_shape
from .recent import Recent
from .tiling.grid import Grid
from .tiling.tiled import TiledNetwork, Tiling
from .tiling.windows import windows_by_tile

OpenPart = Callable[[OnnxModel, Part], CpuNetwork]


def open_on_cpu(model: OnnxModel, options: Options) -> CpuBackend:
    """An exported ONNX file on the CPU.

    Raises:
        ModelFileError: the file is damaged.
        MissingDependency: the engine's package is not installed.
        BackendError: the engine refuses the file, or the processor has not the precision.
        UsageError: the engine has not the precision, or the network cannot have tiles.
    """
    way = choose(model, options)
    engine = import_module(f".{way.engine}", __package__)
    other_order = options.color not in (None, model.spec.color)

    def open_part(model: OnnxModel, part: Part) -> CpuNetwork:
        if model.spec.precision == Precision.INT8:
            make_unsigned(model)
        network: CpuNetwork = engine.open_network(model, options.threads, way.precision, other_order, part)
        return network

    tiling = Tiling(model, options.tile)  # of the graph as it was read
    return CpuBackend(model, open_part(model, WHOLE), tiling, open_part, options)


class CpuBackend(Backend):
    """A network on the CPU, and our tail behind it.

    Args:
        model: the file, its graph perhaps cut to what the network computes.
        network: the engine.
        tiling: how pictures are cut.
        open_part: opens another network of a part of the model, as read again.
        options: the Segmenter's.
    """

    device, in_flight = "cpu", 1

    def __init__(self, model: OnnxModel, network: CpuNetwork, tiling: Tiling, open_part: OpenPart, options: Options):
        self._model, self._network, self._options = model, network, options
        self._tiling, self._open_part, self._tiled = tiling, open_part, None
        self.spec, self.engine = model.spec, network.engine
        in_integers = model.spec.precision == Precision.INT8 and network.precision == Precision.FP32
        self.precision = Precision.INT8.value if in_integers else network.precision
        self._bytes_per_pixel = least_bytes_per_pixel(model.proto.graph, self.precision)
        self._computing = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fcnrt")  # starts a thread when it is first needed
        self._upsamplers: Recent[LabelUpsampler] = Recent(MAX_SHAPES)

    _tiled: TiledNetwork | None

    def check_shape(self, shape: Shape) -> None:
        check_fixed_shape(shape, self._model.fixed_shape, self._model.path)
        grid = self._tiling.grid(shape)
        check_memory((shape[0], *grid.shape) if grid else shape, self._bytes_per_pixel)

    def grid(self, shape: Shape) -> Grid | None:
        batch, height, width = shape
        return self._tiling.grid((batch, *(self._options.input_size or (height, width))))

    def label(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> None:
        with self._computing:  # an interrupted stream's last frame may still be in the worker's hands
            self._label(frames, labels, confidence)

    def _label(self, frames: Frames, labels: Labels, confidence: Confidence | None) -> None:
        self._mark("checks")
        seen = self._network_input(frames)
        grid = self.grid(frames.shape[:3])
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
        try:
            return self._worker.submit(self.label, frames, labels, confidence).result
        except RuntimeError:  # the main thread has ended: workers take nothing any more
            return partial(self.label, frames, labels, confidence)

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
        return CpuBackend(self._model, self._network.clone(), self._tiling.clone(), self._open_part, self._options)

    def close(self) -> None:
        self._worker.shutdown()
        if self._tiled:
            self._tiled.close()
        self._network.close()
        self._upsamplers.clear()

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
            self._tiled = TiledNetwork(self._tiling.locality, self._network, self._open_again, self._mark)
        return self._tiled

    def _open_again(self, part: Part) -> CpuNetwork:
        return self._open_part(self._model.reread(), part)

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
