"""What simulated engines compute with: ONNX Runtime on the CPU, one thread, on arrays in simulated memory."""

from __future__ import annotations

import contextlib
import weakref

import numpy as np
import onnx
import onnx.utils
import onnxruntime

from fcnrt.backends.onnxruntime import WEIGHTS_FOLDER
from fcnrt.contract.types import Array

from .machine import SimulatedCuda
from .memory import Allocation
from .misuse import Misuse


class CpuNetwork:
    """A model with one input, `frames`, and one output; its weights may lie in a file in a folder."""

    def __init__(self, model: bytes, folder: str = ""):
        options = onnxruntime.SessionOptions()
        if folder:
            options.add_session_config_entry(WEIGHTS_FOLDER, folder)
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (self.output,) = (each.name for each in self._session.get_outputs())
        self.input_dims = [dim if isinstance(dim, int) else -1 for dim in self._session.get_inputs()[0].shape]
        self.output_dims = [dim if isinstance(dim, int) else -1 for dim in self._session.get_outputs()[0].shape]
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}

    def run(self, frames: Array) -> Array:
        result: Array = self._session.run(None, {"frames": frames})[0]
        return result

    def output_shape(self, frames_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the output for frames of a shape."""
        if frames_shape not in self._shapes:
            self._shapes[frames_shape] = self.run(np.zeros(frames_shape, np.uint8)).shape
        return self._shapes[frames_shape]


class EngineMemory:
    """Device memory of an engine, freed with it; the queue must not hold work on it by then."""

    def __init__(self, gpu: SimulatedCuda, nbytes: int, device: int):
        self._allocation = gpu.allocate(nbytes, "device", device, owner="engine")
        self.address, self.nbytes = self._allocation.address, nbytes
        self.free = weakref.finalize(self, _free, gpu, self._allocation)

    @property
    def use(self) -> tuple[int, int]:
        """As work in a queue names it."""
        return self.address, self.nbytes


def cut_at_scores(model: onnx.ModelProto) -> bytes:
    """The file's graph up to `scores`."""
    with contextlib.redirect_stderr(None):
        cut = onnx.utils.Extractor(model).extract_model(["frames"], ["scores"])
    return bytes(cut.SerializeToString())


def _free(gpu: SimulatedCuda, allocation: Allocation) -> None:
    with gpu.lock:
        if allocation.pending:  # in a finalizer nobody would see it raised
            gpu.misuses.append(Misuse("an engine's memory is freed while queued work uses it"))
        gpu.memory.free(allocation.address)
