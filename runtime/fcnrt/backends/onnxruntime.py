"""ONNX Runtime: its sessions, and the network that one of them is on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..contract.cores import cores
from ..contract.precision import Precision
from ..contract.types import Array, Frames, Scores
from ..errors import BackendError, first_line
from .denormals import denormals_flushed
from .int8_rewrite import read_bytes
from .network import MAX_SHAPES, WHOLE, CpuNetwork, Part
from .onnx_model import OnnxModel, load_package
from .recent import Recent

CPU = "CPUExecutionProvider"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


class OrtNetwork(CpuNetwork):
    """A session on the CPU, which clones share.

    Args:
        session: of the model, or of a part of it.
    """

    precision = "fp32"  # the CPU provider has no halves

    def __init__(self, session: Any):
        self.engine = ort_title()
        self._session = session
        self._scores: Recent[Scores] = Recent(MAX_SHAPES)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        named = zip(self._session.get_inputs(), inputs, strict=True)
        with engine_errors(f"failed on frames of shape {inputs[0].shape}"), denormals_flushed():
            outputs: list[Array] = self._session.run(None, {value.name: array for value, array in named})
        return outputs

    def scores(self, frames: Frames) -> Scores:
        buffer = self._scores.find(frames.shape)
        if buffer is None:  # the first scores of a shape become the buffer of those that follow
            return self._scores.keep(frames.shape, self.run([frames])[0])
        with engine_errors(f"failed on frames of shape {frames.shape}"), denormals_flushed():
            self._run_into(buffer, frames)
        return buffer

    def clone(self) -> OrtNetwork:
        return OrtNetwork(self._session)

    def close(self) -> None:
        self._scores.clear()
        self._session = None

    def _run_into(self, scores: Scores, frames: Frames) -> None:
        binding = self._session.io_binding()
        binding.bind_input("frames", "cpu", 0, frames.dtype.type, frames.shape, frames.ctypes.data)
        binding.bind_output("scores", "cpu", 0, scores.dtype.type, scores.shape, scores.ctypes.data)
        self._session.run_with_iobinding(binding)


def open_network(
    model: OnnxModel, threads: int | None, precision: str, reverse_channels: bool, part: Part = WHOLE
) -> OrtNetwork:
    """Make a session of a model; arguments and errors are those of openvino.open_network, the precision is "fp32"."""
    if reverse_channels:
        model.swap_channels()
    model.cut_to(part)
    if model.spec.precision == Precision.INT8:
        read_bytes(model)
    return OrtNetwork(new_session(model, CPU, threads))


def open_pair(
    read: Callable[[], OnnxModel], threads: int | None, precision: str, reverse_channels: bool
) -> tuple[OrtNetwork, OrtNetwork]:
    """Two networks of a whole model that run at the same time; the rest is as in openvino.open_pair.

    Each has half of the threads, and weights of its own unless that is a single thread: a session computes in the
    threads that call it and in its own, which callers would share.
    """
    half = (threads or cores()) // 2
    first = open_network(read(), half, precision, reverse_channels)
    return first, first.clone() if half == 1 else open_network(read(), half, precision, reverse_channels)


def new_session(model: OnnxModel, provider: Any, threads: int | None) -> Any:
    """An ONNX Runtime session of a model.

    Raises:
        BackendError: ONNX Runtime refuses it.
        ModelFileError: the file is damaged, or was changed since its graph was read.
    """
    ort = load_runtime()
    with model.being_loaded(), engine_errors(f"cannot load {model.path}"):
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors reach the caller as exceptions, warnings are not for users
        # A pattern of a shape is one more block of memory beside what the first run of that shape took piece by piece.
        options.enable_mem_pattern = False
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry(WEIGHTS_FOLDER, str(model.file.parent))
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        # The first session of a process has denormals flushed in the thread that makes it, too, and for good: in the
        # caller's, his own arithmetic would change.
        with ThreadPoolExecutor(1) as maker:
            return maker.submit(ort.InferenceSession, model.with_references(), options, providers=[provider]).result()


def load_runtime() -> Any:
    """onnxruntime, silenced; raises MissingDependency."""
    ort = load_package("onnxruntime")
    ort.disable_telemetry_events()
    ort.set_default_logger_severity(4)
    return ort


def ort_title() -> str:
    """onnxruntime and its version, for people."""
    return f"onnxruntime {load_runtime().__version__}"


@contextlib.contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """ONNX Runtime's exceptions, which share no base class, as one of ours."""
    try:
        yield
    except Exception as error:
        raise BackendError(f"ONNX Runtime: {doing}: {first_line(error)}") from error
