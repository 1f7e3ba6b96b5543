"""A simulated CUDA provider of ONNX Runtime: sessions whose runs are queued on the simulated stream they were given.

Everything but sessions of the CUDA provider is the real onnxruntime. Such a session takes device addresses by I/O
binding, makes outputs that are bound without an address itself, in memory that it keeps for the next ones, and waits
for its stream unless the run options disable that.

Not proved: the provider's own allocations and copies, which nodes it leaves to the CPU, its numerics, and what it makes
of options it does not know.
"""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from fcnrt.backends.onnxruntime import WEIGHTS_FOLDER

from .machine import SimulatedCuda
from .misuse import Misuse, Refused
from .network import CpuNetwork, EngineMemory
from .streams import Stream, Work

CUDA = "CUDAExecutionProvider"
_SYNCHRONIZE = "disable_synchronize_execution_providers"


class CudaOrtValue:
    """An output that ONNX Runtime made."""

    def __init__(self, session: CudaSession, shape: Sequence[int], dtype: Any):
        self._memory = session._take_memory(math.prod(shape) * np.dtype(dtype).itemsize)
        self._shape, self._dtype = list(shape), np.dtype(dtype)
        weakref.finalize(self, session._unused.append, self._memory).atexit = False

    def shape(self) -> list[int]:
        return self._shape

    def data_ptr(self) -> int:
        return self._memory.address

    def device_name(self) -> str:
        return "cuda"


class CudaBinding:
    """As onnxruntime.IOBinding, for addresses on the device."""

    def __init__(self, session: CudaSession):
        self.session = session
        self.input: tuple[Any, tuple[int, ...], int] | None = None
        self.output: tuple[Any, tuple[int, ...], int] | None = None
        self._made: CudaOrtValue | None = None
        self._bound_output = False

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Any, buffer_ptr: int
    ) -> None:
        self._check(name, "frames", device_type, device_id)
        if np.dtype(element_type) != np.uint8:
            raise RuntimeError(f"Unexpected input data type: {element_type}, expected uint8")
        self.input = np.dtype(np.uint8), tuple(shape), buffer_ptr

    def bind_output(self, name: str, device_type: str = "cpu", device_id: int = 0, element_type: Any = None,
                    shape: Any = None, buffer_ptr: int | None = None) -> None:  # fmt: skip
        self._check(name, self.session._network.output, device_type, device_id)
        self._bound_output = True
        self.output = None if buffer_ptr is None else (np.dtype(element_type), tuple(shape), buffer_ptr)

    def get_outputs(self) -> list[CudaOrtValue]:
        if self._made is None:
            raise Misuse("get_outputs of a binding whose output was bound to an address: the value is not ours")
        return [self._made]

    def _check(self, name: str, expected: str, device_type: str, device_id: int) -> None:
        if name != expected:
            raise RuntimeError(f"Failed to find {name} in the model's inputs or outputs")
        if device_type != "cuda":
            raise Misuse(f"{name} is bound on {device_type}: a copy, and a wait, in every run")
        if device_id != self.session._device:
            raise Misuse(f"{name} is bound on cuda:{device_id}, the session runs on cuda:{self.session._device}")

    def _target(self) -> tuple[Any, tuple[int, ...], int]:
        """Type, shape and address of the output."""
        if self.input is None or not self._bound_output:
            raise RuntimeError("Missing Input or output: bind both")
        shape = self.session._network.output_shape(self.input[1])
        if self.output is not None:
            return self.output
        self._made = CudaOrtValue(self.session, shape, self.session._dtype)
        return self.session._dtype, shape, self._made.data_ptr()


class CudaSession:
    """As onnxruntime.InferenceSession with the CUDA provider."""

    def __init__(self, ort: SimulatedOnnxRuntime, model: bytes, folder: str, options: dict[str, str]):
        unknown = set(options) - {"device_id", "user_compute_stream", "use_tf32"}
        if unknown:
            raise Misuse(f"the simulated CUDA provider has no option {', '.join(unknown)}; add it to tests/simulated/")
        self._ort, self._gpu = ort, ort.gpu
        self._device = int(options.get("device_id", 0))
        self._stream_handle = int(options.get("user_compute_stream", 0))
        self._network = CpuNetwork(model, folder)
        self._dtype = onnx.helper.tensor_dtype_to_np_dtype(_output_type(model))
        self._unused: list[EngineMemory] = []
        try:
            self._weights = EngineMemory(self._gpu, len(model), self._device)
        except Refused as refusal:
            raise RuntimeError(f"CUDA failure: {refusal.name}") from None

    def get_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"]

    def io_binding(self) -> CudaBinding:
        return CudaBinding(self)

    def run_with_iobinding(self, iobinding: CudaBinding, run_options: Any = None) -> None:
        with self._gpu.lock:
            self._check_device()
            stream = self._gpu.stream(self._stream_handle, self._device)
            if stream.capture:
                raise Misuse("a run of ONNX Runtime in a captured stream")
            try:
                self._enqueue(iobinding, stream)
            except Refused as refusal:
                raise RuntimeError(f"CUDA failure: {refusal.name}") from None
            if not _is_asynchronous(run_options):
                self._gpu.counters["waits"] += 1
                self._gpu.scheduler.wait(self._gpu.tail(stream))
            self._check_device()

    def _enqueue(self, binding: CudaBinding, stream: Stream) -> None:
        dtype, shape, output = binding._target()
        assert binding.input
        _, frames_shape, frames = binding.input
        gpu, network = self._gpu, self._network
        expected = network.output_shape(frames_shape)
        if (shape, dtype) != (expected, self._dtype):
            raise RuntimeError(f"Got invalid output: expected {self._dtype} {expected}, got {dtype} {shape}")

        def run() -> None:
            gpu.counters["engine runs"] += 1
            gpu.counters["launches"] += 1
            if gpu.survives_launch():
                target = gpu.memory.view(output, shape, dtype, writes=True)
                target[...] = network.run(gpu.memory.view(frames, frames_shape, "u1"))

        uses = (frames, math.prod(frames_shape)), (output, math.prod(shape) * dtype.itemsize)
        gpu.submit(stream, Work("ONNX Runtime", run, uses))

    def _check_device(self) -> None:
        if self._gpu.broken:
            raise RuntimeError(f"CUDA failure: {self._gpu.broken}")
        if self._ort.failing:
            raise RuntimeError(self._ort.failing)

    def _take_memory(self, nbytes: int) -> EngineMemory:
        """From what was made and forgotten before, or new."""
        for memory in self._unused:
            if memory.nbytes == nbytes:
                self._unused.remove(memory)
                return memory
        return EngineMemory(self._gpu, nbytes, self._device)


class SimulatedOnnxRuntime(ModuleType):
    """The module `onnxruntime`.

    Attributes:
        loads: whether the CUDA provider finds its libraries; otherwise sessions fall back to the CPU, as they do.
        failing: the message of an error that every run raises; "" for none.
    """

    def __init__(self, gpu: SimulatedCuda):
        super().__init__("onnxruntime")
        self.gpu, self.loads, self.failing = gpu, True, ""
        self.__spec__ = onnxruntime.__spec__  # by which importlib knows what is installed

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)

    def get_available_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"]

    def InferenceSession(self, path_or_bytes: Any, sess_options: Any = None, providers: Any = None) -> Any:
        name, options = providers[0] if isinstance(providers[0], tuple) else (providers[0], {})
        if name == CUDA and self.loads:
            return CudaSession(self, bytes(path_or_bytes), _weights_folder(sess_options), options)
        return onnxruntime.InferenceSession(path_or_bytes, sess_options, providers=["CPUExecutionProvider"])


def simulated_onnxruntime(monkeypatch: pytest.MonkeyPatch, gpu: SimulatedCuda) -> SimulatedOnnxRuntime:
    """Install an onnxruntime with a working CUDA provider on a simulated machine."""
    ort = SimulatedOnnxRuntime(gpu)
    monkeypatch.setitem(sys.modules, "onnxruntime", ort)
    return ort


def _weights_folder(options: Any) -> str:
    try:
        return str(options.get_session_config_entry(WEIGHTS_FOLDER))
    except Exception:  # the entry is not there, or no options were given
        return ""


def _is_asynchronous(run_options: Any) -> bool:
    try:
        return run_options is not None and run_options.get_run_config_entry(_SYNCHRONIZE) == "1"
    except Exception:  # the entry is not there
        return False


def _output_type(model: bytes) -> int:
    return int(onnx.load_from_string(model).graph.output[0].type.tensor_type.elem_type)
