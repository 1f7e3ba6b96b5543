"""A simulated GPU host for the tests of the GPU runtime: a driver, an engine and kernels that the CPU computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fcnrt
from fcnrt.backends import onnxruntime_cuda

from .cuda_driver import simulated_cuda
from .kernel_functions import kernel_records
from .machine import SimulatedCuda
from .onnxruntime_cuda import simulated_onnxruntime
from .tensorrt import SimulatedTensorRT, simulated_tensorrt

# What may lie under the GPU runtime: versions of TensorRT, TensorRT for RTX, ONNX Runtime's CUDA provider; also
# "lean 10.16.1", TensorRT's lean runtime.
ENGINES = ("8.6.1", "10.16.1", "11.4.0", "rtx", "onnxruntime")
PROFILE = ((1, 32, 32), (1, 64, 96), (3, 130, 140))


@dataclass
class GpuHost:
    """A machine with one simulated GPU and one kind of engine."""

    gpu: SimulatedCuda
    trt: SimulatedTensorRT | None
    folder: Path

    def model(self, onnx_file: Path, **options: Any) -> Path:
        """The file that a Segmenter opens on this host: an engine built of an ONNX file, or the file itself."""
        if self.trt is None:
            return onnx_file
        options = {"profiles": [PROFILE], "kernels": kernel_records(self.gpu), **options}
        return self.trt.write_engine(self.folder / f"{onnx_file.stem}.engine", onnx_file, **options)

    def segmenter(self, onnx_file: Path, **arguments: Any) -> fcnrt.Segmenter:
        return fcnrt.Segmenter(self.model(onnx_file), device="cuda", **arguments)


MakeHost = Callable[..., GpuHost]


@contextmanager
def gpu_host(
    monkeypatch: pytest.MonkeyPatch, folder: Path, engine: str = "10.16.1", mode: str = "lazy", **options: Any
) -> Iterator[GpuHost]:
    """A host; what is misused, raced for or leaked on it is an error, at its end at the latest."""
    with simulated_cuda(monkeypatch, mode, **options) as gpu:
        if engine == "onnxruntime":
            simulated_onnxruntime(monkeypatch, gpu)
            monkeypatch.setattr(onnxruntime_cuda, "installed_kernels", lambda sm: kernel_records(gpu))
            yield GpuHost(gpu, None, folder)
        else:
            flavour, version = ("tensorrt-rtx", "1.7.1") if engine == "rtx" else ("tensorrt", engine.split()[-1])
            lean = engine.startswith("lean ")
            yield GpuHost(gpu, simulated_tensorrt(monkeypatch, gpu, version, flavour, lean), folder)


def labels_on_cpu(onnx_file: Path, frames: Sequence[np.ndarray], **arguments: Any) -> list[np.ndarray]:
    """What the CPU makes of them."""
    with fcnrt.Segmenter(onnx_file, device="cpu", **arguments) as segment:
        return [segment(frame) for frame in frames]
