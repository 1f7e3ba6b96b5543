"""ONNX Runtime's CUDA provider as a Network: the same staging, streams and kernels as TensorRT's engines."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..contract.precision import Precision
from ..contract.tail import check_geometry
from ..contract.types import Shape, label_dtype
from ..errors import BackendError, FcnrtError
from ..gpu.cuda import Gpu, Stream, device_count
from ..gpu.kernels import Kernels, installed_kernels
from .base import Options
from .gpu import DeviceScores, GpuBackend, Network
from .onnx_model import OnnxModel, check_fixed_shape
from .onnxruntime import engine_errors, load_runtime, new_session, ort_title
from .recent import Recent

CUDA = "CUDAExecutionProvider"
MAX_SHAPES = 8  # frame shapes whose scores' memory is kept


class NoCudaProvider(BackendError):
    """ONNX Runtime has a CUDA provider that does not load."""


def why_not_cuda() -> str:
    """Why ONNX Runtime cannot use a GPU here, as far as it shows before a session is made; "" if it may."""
    if CUDA not in load_runtime().get_available_providers():
        return "this onnxruntime has no CUDA provider (onnxruntime-gpu, installed instead of it, has)"
    try:  # asking the driver ourselves spares the user ONNX Runtime's noise where there is none
        return "" if device_count() else "no NVIDIA GPU or driver on this machine"
    except FcnrtError as error:
        return str(error)


def open_on_cuda(model: OnnxModel, options: Options, index: int) -> GpuBackend:
    """An exported ONNX file on a GPU.

    Args:
        model: the file.
        options: the Segmenter's.
        index: of the GPU.

    Raises:
        ModelFileError: the file is damaged.
        NoCudaProvider: for want of CUDA's or cuDNN's libraries.
        BackendError: there is no such GPU, or ONNX Runtime refuses the file.
    """
    gpu = Gpu(index)
    kernels = Kernels(gpu, installed_kernels(gpu.sm))
    with gpu.current():
        network = OrtCudaNetwork(gpu, model, options, own_tail="upsample_argmax" not in kernels)
    if network.output == "labels":
        warnings.warn(
            f"no kernels are installed for {gpu.name} (compute capability {gpu.capability}): the model's own last step "
            "serves, which is slower; make them with `make kernels`",
            RuntimeWarning,
            stacklevel=4,
        )
    return GpuBackend(gpu, network, kernels, options)


class OrtCudaNetwork(Network):
    """A session of the CUDA provider, on a stream of its own.

    Args:
        gpu: the device, current.
        model: the ONNX file.
        options: the Segmenter's.
        own_tail: keep the graph's last step, for want of kernels of ours.
    """

    scores_type = Precision.FP32  # of every exported file, whatever its body's precision

    def __init__(self, gpu: Gpu, model: OnnxModel, options: Options, own_tail: bool):
        self._gpu, self._model, self._options = gpu, model, options
        self.spec, self.color = model.spec, options.color or model.spec.color
        self.output = "labels" if own_tail else "scores"
        self.engine, self.stream = ort_title(), Stream(gpu)
        if self.color != model.spec.color:
            model.swap_channels()
        if own_tail:
            model.make_labels(label_dtype(len(model.spec.classes)))
        else:
            model.cut_at_scores()
        settings = {
            "device_id": str(gpu.index),
            "user_compute_stream": str(self.stream.handle),
            "use_tf32": "0",  # float32 files give what float32 gives elsewhere, as our engines do
        }
        self._session = new_session(model, (CUDA, settings), options.threads)
        if CUDA not in self._session.get_providers():
            raise NoCudaProvider("ONNX Runtime's CUDA provider does not load (it needs CUDA and cuDNN libraries)")
        self._run_options = load_runtime().RunOptions()
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")  # the stream orders
        finish = self.stream.synchronize  # of a bound method of the stream's alone: the cache must not hold the network
        self._scores: Recent[Any] = Recent(MAX_SHAPES, lambda scores: finish())

    def check_shape(self, shape: Shape) -> None:
        check_fixed_shape(shape, self._model.fixed_shape, self._model.path)

    def scores(self, frames: int, shape: Shape) -> DeviceScores:
        scores = self._scores.find(shape)
        if scores is None:  # ONNX Runtime finds their shape and makes them; they are the buffer from then on
            binding = self._run(frames, shape, "scores")
            made = binding.get_outputs()[0]
            check_geometry(self.spec.tail, len(self.spec.classes), made.shape(), shape, str(self._model.path))
            scores = self._scores.keep(shape, made)
        else:
            self._run(frames, shape, "scores", np.float32, scores.shape(), scores.data_ptr())
        batch, classes, height, width = scores.shape()
        return DeviceScores(scores.data_ptr(), (batch, classes, height, width), self.scores_type)

    def labels(self, frames: int, shape: Shape, labels: int) -> None:
        self._run(frames, shape, "labels", label_dtype(len(self.spec.classes)), shape, labels)

    def clone(self) -> OrtCudaNetwork:
        return OrtCudaNetwork(self._gpu, self._model.reread(), self._options, own_tail=self.output == "labels")

    def close(self) -> None:
        self._scores.clear()
        self._session = None

    def _run(self, frames: int, shape: Shape, output: str, *where: Any) -> Any:
        """Enqueue the session; `where` is type, shape and address of the output, nothing for a new one."""
        binding = self._session.io_binding()
        binding.bind_input("frames", "cuda", self._gpu.index, np.uint8, (*shape, 3), frames)
        binding.bind_output(output, "cuda", self._gpu.index, *where)
        with engine_errors(f"failed on frames of shape {shape}"):
            self._session.run_with_iobinding(binding, self._run_options)
        return binding
