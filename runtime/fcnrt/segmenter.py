"""Frames to labels: the one class that most programs need."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt

from .backends import Backend, Options, open_backend
from .backends.arguments import check_color, check_one_of, check_threads, check_tile, checked_size, points_required
from .contract.closing import Closing
from .contract.endings import before_the_end
from .contract.frames import check_apart, check_target, checked_batch
from .contract.in_flight import Submitted, in_order, nothing
from .contract.spec import ModelSpec
from .contract.types import Array, LabelArray, UInt8Array, label_dtype
from .contract.windows import Picture, PictureFrames, Window
from .errors import FrameError, UsageError
from .gpu.arrays import Nv12Frame, check_apart_on_device, device_frames, device_target, is_device_array
from .gpu.cuda import stream_handle
from .pictures.palette import named_palette

Item = TypeVar("Item")

ENGINES = "auto", "onnxruntime", "openvino"
PRECISIONS = "auto", "fp32", "bf16"


class Segmenter(Closing):
    """A loaded model, called with frames, giving labels.

    One Segmenter serves one thread at a time; a call from a second thread raises `UsageError` instead of mixing frames.
    `clone` makes one for another thread.

    Args:
        path: a file made by export/to_onnx.py or export/build_engine.py.
        device: "auto" (the fastest this machine has), "cpu", "cuda" or "cuda:N".
        threads: threads of the engine on the CPU (default: all cores).
        color: "rgb" or "bgr", the channel order of the frames you give (default: the file's own, see `spec.color`).
        input_size: (height, width) that frames are resized to for the network. Labels still come at the frames' own
            size: the scores are sampled at each of its pixels. Default: the network sees frames as they are.
        antialias: with `input_size`, average over what a pixel covers when reducing, as torchvision's presets do.
        graphs: on GPUs, replay the engine's work as a CUDA graph where a shape comes again.
        engine: "auto" (on the CPU ONNX Runtime, unless `fcnrt tune` measured another to be faster here for this file),
            "onnxruntime" or "openvino".
        precision: what the CPU computes in: "auto" (float32, unless the file is certified for bfloat16 and `fcnrt tune`
            measured that to be faster), "fp32" or "bf16", which OpenVINO has on processors with such arithmetic, and
            which gives other labels here and there.
        tile: "auto" (on the CPU, frames that would not fit in memory are computed in tiles, with the same labels),
            "off", or the side of a square in pixels: the network, on the CPU, sees no more pixels than that at once.
        require_parity: refuse a file unless benchmarks/parity.py has certified that it loses at most so many points of
            mean IoU against its checkpoint, such as 0.1; on whichever device, and without `input_size`, that was
            measured (default: take any file).

    Attributes:
        spec: what the model file says of itself.
        device: where the network runs, "cpu" or "cuda:N".
        engine: name and version of what runs it there.
        precision: that it is really computed in.
        color: "rgb" or "bgr", the channel order of the frames that it takes.
        in_flight: how many frames of a stream keep the engine busy; more depth than that only fetches ahead.

    Raises:
        ModelFileError: the file is missing, damaged, foreign, of a newer format, or made for another GPU; or it has not
            the certificate that `require_parity` asks for.
        MissingDependency: the package of the file's engine is not installed.
        BackendError: the engine or the device refuses.
        UsageError: an argument is wrong.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        color: Literal["rgb", "bgr"] | None = None,
        input_size: tuple[int, int] | None = None,
        antialias: bool = True,
        graphs: bool = True,
        engine: Literal["auto", "onnxruntime", "openvino"] = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        tile: Literal["auto", "off"] | int = "auto",
        require_parity: float | None = None,
    ):
        check_color(color)
        check_threads(threads)
        check_one_of("engine", engine, ENGINES)
        check_one_of("precision", precision, PRECISIONS)
        check_tile(tile)
        points = None if require_parity is None else points_required(require_parity)
        size = checked_size(input_size)
        options = Options(device, threads, color, size, antialias, graphs, engine, precision, points, tile)
        with before_the_end():
            self._hold(Path(path), options, open_backend(Path(path), options))

    def _hold(self, path: Path, options: Options, backend: Backend) -> None:
        self._path, self._options, self._backend = path, options, backend
        self.spec: ModelSpec = backend.spec
        self.device: str = backend.device
        self.engine: str = backend.engine
        self.precision: str = backend.precision
        self.in_flight: int = backend.in_flight
        self.color: str = options.color or backend.spec.color
        self._users: dict[object, None] = {}  # the first one's call runs
        self._closed, self._process = False, os.getpid()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in label order."""
        return self.spec.classes

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """RGB colours of the classes, uint8 (C, 3)."""
        palette = self.spec.palette
        return named_palette(palette, len(self.classes)) if isinstance(palette, str) else np.array(palette, np.uint8)

    @overload
    def __call__(
        self, frames: UInt8Array, *, out: LabelArray | None = ..., confidence: UInt8Array | None = ...
    ) -> LabelArray: ...

    @overload
    def __call__(self, frames: Any, *, out: Any = ..., confidence: Any = ..., stream: object = ...) -> Any: ...

    def __call__(self, frames: Any, *, out: Any = None, confidence: Any = None, stream: object = None) -> Any:
        """Label every pixel.

        Args:
            frames: uint8 (H, W, 3), or a batch (N, H, W, 3): a numpy array of any strides; or, on a GPU, a device array
                (torch, CuPy, PyCUDA, anything with DLPack or the CUDA Array Interface), which is read in place, or an
                `Nv12Frame`.
            out: array of the same kind that the labels are written to (default: a new one).
            confidence: array of the same kind, uint8, of the labels' shape, that the probability of each label is
                written to: the largest softmax of the upsampled scores, 255 for 1 (default: not computed).
            stream: for device arrays, the stream that they are ready on and that the results will be ready on: None
                (the default stream), an int, or a stream of torch, CuPy, PyCUDA or cuda.core. The host does not wait,
                so frames and results must be left alone by others until that stream has passed.

        Returns:
            Labels (H, W) or (N, H, W), uint8, or uint16 where the model has more than 256 classes: `out`, or a new
            numpy array, or a new `DeviceArray`.

        Raises:
            FrameError: wrong type, shape or size.
            UsageError: called while another call runs, or after `close`; device arrays where the model is on the CPU.
            BackendError: the engine failed; for device arrays possibly in a later call.
        """
        with self._exclusive(), before_the_end():
            if isinstance(frames, Nv12Frame) or is_device_array(frames):
                return self._label_on_device(frames, out, confidence, stream)
            batch = self._as_batch(frames)
            shape = frames.shape[:-1]
            labels = np.empty(shape, self._label_dtype) if out is None else out
            check_target("out", labels, shape, self._label_dtype)
            if confidence is not None:
                check_target("confidence", confidence, shape, np.uint8)
            if out is not None or confidence is not None:
                check_apart(frames, labels, confidence)
            targets = (array if frames.ndim == 4 or array is None else array[None] for array in (labels, confidence))
            self._backend.label(batch, *targets)
        return labels

    def scores(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The logits before the network's last upsampling, for those who need probabilities.

        `fcnrt.softmax(fcnrt.upsample(scores, height, width, segment.spec.tail))` gives full-size ones.

        Args:
            frames: a numpy array, uint8 (H, W, 3), or a batch (N, H, W, 3), of any strides.

        Returns:
            float32 (N, C, h, w), N being 1 for a single frame; a new array.

        Raises:
            FrameError, UsageError, BackendError: as in a call.
        """
        with self._exclusive(), before_the_end():
            return np.array(self._backend.scores(self._as_batch(frames)))

    def stream(
        self, frames: Iterable[Item], depth: int = 3, *, pixels: Callable[[Item], Any] = lambda frame: frame
    ) -> Generator[tuple[Item, Array], None, None]:
        """Label a sequence of frames while the next ones are being fetched.

        While it runs the Segmenter is in use: other calls raise UsageError.

        Args:
            frames: any iterable of numpy frames (or batches), or of what `pixels` finds them in; it is advanced in the
                caller's thread, at most `depth` ahead, and must not reuse the memory of a frame that was not yielded
                yet.
            depth: frames in flight, at least 1; fewer where they are large. At 1 nothing is fetched while the engine
                works, and no other thread takes part: for callers that fetch ahead themselves, and for live video. From
                2 on the CPU works on two frames at once, as soon as a stream has run for a while.
            pixels: from an item of `frames` to its numpy frame.

        Yields:
            (item of `frames`, labels) in their order.

        Raises:
            FrameError, UsageError, BackendError: as in a call, when the turn of that frame has come.
            Any error of `frames` itself: after the frames before it were yielded.
        """
        with closing(self.each(frames, depth, pixels=pixels)) as results:
            for item, labels in results:
                yield item, labels()

    def each(
        self, frames: Iterable[Item], depth: int = 3, *, pixels: Callable[[Item], Any] = lambda frame: frame
    ) -> Generator[tuple[Item, Callable[[], Array]], None, None]:
        """What `stream` does, where a frame that cannot be labelled is not to end it: each is asked for its labels.

            for path, labels in segment.each(paths, pixels=read):
                try:
                    write(path, labels())
                except (OSError, fcnrt.FcnrtError) as error:
                    print(path, error)

        Args:
            frames, depth, pixels: as in `stream`.

        Yields:
            (item of `frames`, a function) in their order. The function waits for the labels and returns them; it raises
            what `pixels` raised for this item, and what a call would: FrameError, UsageError, BackendError.

        Raises:
            UsageError: the Segmenter is in use, or closed.
            Any error of `frames` itself: after the frames before it were yielded.
        """
        if type(depth) is not int or depth < 1:
            raise UsageError(f"depth: expected at least 1, got {depth!r}")
        submit = partial(self._submit, pixels=pixels, at_once=depth == 1)
        with self._exclusive(), closing(in_order(frames, submit, depth)) as results:
            for frame in results:
                yield frame.item, frame.labels

    def windows(self, picture: Picture) -> Generator[Window, None, None]:
        """Label a picture that may be larger than memory, part by part: each has the labels that the whole would have.

        On the CPU parts are read and labelled tile by tile, as `tile` says; what is computed whole comes as one part.
        While it runs the Segmenter is in use.

        Args:
            picture: something of `shape` (H, W, 3) that gives uint8 (h, w, 3) for `picture[rows, columns]`, two slices:
                an array, a memory map, a raster that is read by windows.

        Yields:
            (rows, columns, labels), two slices and the labels (h, w); together they cover the picture once. The last
            rows come first.

        Raises:
            FrameError, UsageError, BackendError: as in a call.
            Any error of `picture` itself.
        """
        frames = PictureFrames(picture)
        with self._exclusive():
            self._check_size(frames.frames)
            parts = self._backend.windows(frames)
            while (part := _next_part(parts)) is not None:
                yield part

    @property
    def backend(self) -> Backend:
        """What runs the model: for measuring its stages, not for labelling; raises UsageError after `close`."""
        self._check_open()
        return self._backend

    def clone(self) -> Segmenter:
        """Another Segmenter of the same model for another thread; engines share their weights.

        Raises:
            UsageError: after `close`, or while a call runs.
            BackendError: the device has too little memory left.
        """
        with self._exclusive():
            other = object.__new__(Segmenter)
            other._hold(self._path, self._options, self._backend.clone())
        return other

    def close(self) -> None:
        """Free the engine; a second call does nothing.

        A call that still runs in another thread, or a stream that has not ended, frees it at its end.
        """
        self._closed = True
        if not self._users:
            backend = vars(self).pop("_backend", None)  # and with it streams, kernels, the device's context
            if backend is not None:
                backend.close()

    def __reduce__(self) -> tuple[Callable[..., Segmenter], tuple[Path, Options]]:
        """To another process goes where the model lies and how it was opened: it is opened there again."""
        self._check_open()
        return _opened, (self._path, self._options)

    def __repr__(self) -> str:
        model = f"{self.spec.family} {self.spec.variant}, {len(self.classes)} classes, {self.spec.precision}"
        return f"<fcnrt.Segmenter {self._path} ({model}) on {self.device}{', closed' if self._closed else ''}>"

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        user = object()
        try:  # from before its entry on: an interrupt may come behind any step
            self._users[user] = None
            first, *_ = list(self._users)  # a copy: others come and go
            if first is not user:
                raise UsageError(
                    f"{self._path}: this Segmenter is in use by another thread or by a stream that has not ended; "
                    "make one for each"
                )
            self._check_open()
            yield
        finally:
            self._users.pop(user, None)  # first: up to the end of this call no interrupt comes
            if self._closed:  # meanwhile
                self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self._path}: this Segmenter was closed; make a new one")
        if os.getpid() != self._process:
            raise UsageError(
                f"{self._path}: this Segmenter was made before the process was forked, and its engine's threads stayed "
                "behind; make one in the child, or start processes with 'spawn'"
            )

    @property
    def _label_dtype(self) -> type[np.uint8] | type[np.uint16]:
        return label_dtype(len(self.classes))

    def _label_on_device(self, frames: Any, out: Any, confidence: Any, stream: object) -> Any:
        if self.device == "cpu":
            raise UsageError(
                "frames: this Segmenter runs on the cpu and takes numpy arrays, got a device array; "
                "copy it to the host, or load the model with device='cuda'"
            )
        handle = stream_handle(stream)
        checked = device_frames(frames, handle)
        self._check_size(checked.shape)
        shape = checked.labels_shape
        labels = None if out is None else device_target("out", out, shape, self._label_dtype, handle)
        certainty = None if confidence is None else device_target("confidence", confidence, shape, np.uint8, handle)
        check_apart_on_device(checked, labels, certainty)
        made = self._backend.label_on_device(checked, handle, labels, certainty)
        return out if made is None else made

    def _submit(self, item: Item, pixels: Callable[[Item], Any], at_once: bool) -> Submitted[Item]:
        """Submit a frame of a stream; with `at_once` it is labelled when its labels are asked for."""
        try:
            frame = pixels(item)
            self._check_open()
            batch = self._as_batch(frame)
            alone = self._backend.grid(batch.shape[:3]) is not None
            labels = np.empty(batch.shape[:3], self._label_dtype)
            with before_the_end():
                complete = self._label_later(batch, labels, at_once or alone)
        except Exception as error:
            return Submitted(item, partial(_fail, error))

        def wait() -> Array:
            with before_the_end():
                complete()
            return labels if frame.ndim == 4 else labels[0]

        return Submitted(item, wait, nothing if at_once or alone else wait, math.inf if alone else batch.nbytes)

    def _label_later(self, batch: UInt8Array, labels: LabelArray, at_once: bool) -> Callable[[], object]:
        return partial(self._backend.label, batch, labels) if at_once else self._backend.submit(batch, labels)

    def _as_batch(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Checked frames as a C-contiguous batch (N, H, W, 3)."""
        batch = checked_batch(frames)
        self._check_size(batch.shape[:3])
        return np.ascontiguousarray(batch)

    def _check_size(self, shape: tuple[int, int, int]) -> None:
        """Refuse frames that the network, after resizing, would not take."""
        batch, height, width = shape
        rows, columns = self._options.input_size or (height, width)
        least = self.spec.min_size
        if min(rows, columns) < least:
            resized = self._options.input_size is not None
            raise FrameError(
                f"{'input_size' if resized else 'frames'}: expected at least {least}x{least} "
                f"({self.spec.family} {self.spec.variant}), got {rows}x{columns}; "
                f"{'choose a larger one' if resized else 'pad or enlarge them'}"
            )
        self._backend.check_shape((batch, rows, columns))


def _opened(path: Path, options: Options) -> Segmenter:
    segmenter = object.__new__(Segmenter)
    segmenter._hold(path, options, open_backend(path, options))
    return segmenter


def _next_part(parts: Iterator[Window]) -> Window | None:
    with before_the_end():
        return next(parts, None)


def _fail(error: Exception) -> Array:
    raise error
