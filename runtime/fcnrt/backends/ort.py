"""ONNX Runtime: on the CPU up to `scores`, where our own tail takes over; on CUDA the whole graph."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import BackendError, MissingDependency, ModelFileError
from ..host_ops import LabelUpsampler, argmax_labels
from ..spec import ModelSpec
from .base import Backend, Frames, Labels, Scores

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
MAX_SHAPES = 8  # frame shapes whose buffers are kept


class OrtBackend(Backend):
    """An exported ONNX file in ONNX Runtime.

    Args:
        path: the file.
        device: "auto" (CUDA where ONNX Runtime and the machine have it, else the CPU), "cpu", "cuda" or "cuda:N".
        threads: ONNX Runtime's intra-op threads on the CPU; None leaves it to ONNX Runtime (all cores).
        color: channel order of the frames; None for the file's own.

    Raises:
        ModelFileError: the file is damaged, foreign or newer.
        MissingDependency: onnx or onnxruntime is not installed.
        BackendError: the device is not to be had, or ONNX Runtime refuses the file.
    """

    def __init__(self, path: Path, device: str, threads: int | None, color: Literal["rgb", "bgr"] | None):
        self._ort = _onnxruntime()
        model = load_model(path)
        self.spec = spec_of(model, path)
        _check_contract(model, path)
        self.fixed_shape = _fixed_shape(model)
        if color not in (None, self.spec.color):
            _swap_channels(model)
        self.device, self._session = self._open_session(model, path, device, threads)
        self._plans: OrderedDict[tuple[int, ...], _HostTail] = OrderedDict()

    def labels(self, frames: Frames, out: Labels) -> None:
        if self.device == "cpu":
            scores = self.scores(frames)
            self._tail_for(frames, scores)(scores, out)
        else:
            self._run(frames, "labels", out)

    def scores(self, frames: Frames) -> Scores:
        tail = self._plans.get(frames.shape)
        if tail is not None:
            self._run(frames, "scores", tail.scores)
            return tail.scores
        with _engine_errors(f"failed on frames of shape {frames.shape}"):
            scores: Scores = self._session.run(["scores"], {"frames": frames})[0]
        return scores

    def close(self) -> None:
        self._session = None
        self._plans.clear()

    def _tail_for(self, frames: Frames, scores: Scores) -> _HostTail:
        """The tail for these shapes; the first scores of a shape become the buffer of those that follow."""
        tail = self._plans.pop(frames.shape, None) or _HostTail(self.spec, scores, frames.shape[1:3])
        self._plans[frames.shape] = tail
        if len(self._plans) > MAX_SHAPES:
            self._plans.popitem(last=False)
        return tail

    def _run(self, frames: Frames, output: str, out: Labels | Scores) -> None:
        """Run on bound memory: nothing is copied on the CPU, only frames and output where the device is another."""
        binding = self._session.io_binding()
        binding.bind_input("frames", "cpu", 0, frames.dtype.type, frames.shape, frames.ctypes.data)
        binding.bind_output(output, "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)
        with _engine_errors(f"failed on frames of shape {frames.shape}"):
            self._session.run_with_iobinding(binding)

    def _open_session(self, model: Any, path: Path, device: str, threads: int | None) -> tuple[str, Any]:
        """A session on the device asked for, and that device; "auto" falls back from CUDA to the CPU."""
        kind, index = _parse_device(device)
        _expose_scores(model)
        if kind != "cpu":
            missing = _why_no_cuda(self._ort)
            if not missing:
                session = self._new_session(model, path, (CUDA, {"device_id": index}), threads)
                if CUDA in session.get_providers():
                    return f"cuda:{index}", session
                missing = "ONNX Runtime's CUDA provider does not load (it needs CUDA and cuDNN libraries)"
            if kind == "cuda":
                raise BackendError(f"device {device!r}: {missing}; use device='cpu'")
        _cut_at_scores(model)
        return "cpu", self._new_session(model, path, CPU, threads)

    def _new_session(self, model: Any, path: Path, provider: Any, threads: int | None) -> Any:
        with _engine_errors(f"cannot load {path}"):
            options = self._ort.SessionOptions()
            options.log_severity_level = 4  # errors reach the caller as exceptions, warnings are not for users
            options.intra_op_num_threads = threads or 0
            return self._ort.InferenceSession(model.SerializeToString(), options, providers=[provider])


class _HostTail:
    """Scores to labels on the CPU for one shape of frames, and the buffer that the scores lie in."""

    def __init__(self, spec: ModelSpec, scores: Scores, frame_size: tuple[int, ...]):
        height, width = frame_size
        self.scores = scores
        self._make_labels: Callable[[Scores, Labels], None]
        if spec.tail.kind == "none":
            rows, columns = (slice(spec.tail.offset, spec.tail.offset + side) for side in frame_size)
            self._make_labels = lambda scores, out: argmax_labels(scores[:, :, rows, columns], out)
        else:
            self._make_labels = LabelUpsampler(spec.tail, scores.shape, (height, width))

    def __call__(self, scores: Scores, out: Labels) -> None:
        self._make_labels(scores, out)


def load_model(path: Path) -> Any:
    """The file as an onnx.ModelProto; raises ModelFileError where it is damaged or not self-contained."""
    onnx = _import("onnx")
    from google.protobuf.message import DecodeError  # onnx brings it

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelFileError(f"{path}: damaged or not an ONNX file; export or copy it again") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelFileError(f"{path}: its weights lie in another file; expected one self-contained file, export again")
    return model


def spec_of(model: Any, path: Path) -> ModelSpec:
    """The spec in a model's metadata; raises ModelFileError where there is none or it is invalid."""
    return ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props}, str(path))


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependency(f".onnx models need {package}: pip install 'fcnrt[ort]'") from error


def _onnxruntime() -> Any:
    onnxruntime = _import("onnxruntime")
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _check_contract(model: Any, path: Path) -> None:
    graph = model.graph
    inputs, outputs = ([value.name for value in values] for values in (graph.input, graph.output))
    described, made = {value.name for value in graph.value_info}, {name for node in graph.node for name in node.output}
    rank = len(graph.input[0].type.tensor_type.shape.dim) if graph.input else 0
    transposed = any(node.op_type == "Transpose" for node in graph.node)
    if inputs != ["frames"] or outputs != ["labels"] or "scores" not in described & made or rank != 4 or not transposed:
        raise ModelFileError(
            f"{path}: expected input `frames` (N, H, W, 3), output `labels` and inner tensor `scores`, "
            f"got {inputs} and {outputs}, changed by another tool; export the checkpoint again"
        )


def _fixed_shape(model: Any) -> tuple[int | None, int | None, int | None]:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    batch, height, width = (dim.dim_value or None for dim in dims[:3])
    return batch, height, width


def _parse_device(device: str) -> tuple[str, int]:
    kind, _, index = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (":" in device and not (kind == "cuda" and index.isdecimal())):
        raise BackendError(f"device {device!r}: expected auto, cpu, cuda or cuda:N")
    return kind, int(index or 0)


def _why_no_cuda(ort: Any) -> str:
    if CUDA not in ort.get_available_providers():
        return "this onnxruntime has no CUDA provider (pip install onnxruntime-gpu)"
    try:  # asking the driver ourselves spares the user ONNX Runtime's noise where there is none
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver on this machine"
    status = driver.cuInit(0)
    return f"the NVIDIA driver reports error {status}" if status else ""


def _swap_channels(model: Any) -> None:
    """Reverse the channels behind the first Transpose, where that moves three planes instead of every pixel."""
    onnx = _import("onnx")
    position, transpose = next(
        (index, node) for index, node in enumerate(model.graph.node) if node.op_type == "Transpose"
    )
    planes = f"{transpose.output[0]}_as_given"
    swap = onnx.helper.make_node("Gather", [planes, "reversed_channels"], [transpose.output[0]], axis=1)
    transpose.output[0] = planes
    model.graph.node.insert(position + 1, swap)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "reversed_channels"))


def _expose_scores(model: Any) -> None:
    """Make `scores` an output beside `labels`."""
    graph = model.graph
    graph.output.append(next(value for value in graph.value_info if value.name == "scores"))


def _cut_at_scores(model: Any) -> None:
    """Make `scores` the only output and drop what comes after: ONNX Runtime would compute it all the same."""
    kept = _needed_for(model.graph, "scores")
    del model.graph.node[:]
    model.graph.node.extend(kept)
    del model.graph.output[0]


def _needed_for(graph: Any, tensor: str) -> list[Any]:
    """The nodes that a tensor depends on, in order (ONNX keeps nodes sorted)."""
    wanted, kept = {tensor}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


@contextlib.contextmanager
def _engine_errors(doing: str) -> Iterator[None]:
    """ONNX Runtime's exceptions, which share no base class, as one of ours."""
    try:
        yield
    except Exception as error:
        raise BackendError(f"ONNX Runtime: {doing}: {str(error).strip().splitlines()[0]}") from error
