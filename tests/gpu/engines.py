"""What may run a network on this GPU, and how a Segmenter on it is opened."""

from __future__ import annotations

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fcnrt
from fcn_export.commands import build_engine
from fcn_export.engines.trt_flavours import load_flavour
from fcn_export.errors import ExportError
from fcn_export.kernels import compiling
from fcnrt import segmenter
from fcnrt.backends import Options, onnxruntime_cuda, read_spec
from fcnrt.backends.gpu import GpuBackend
from fcnrt.contract.flavours import MODULES
from fcnrt.contract.profiles import shape_text
from fcnrt.gpu.cuda import Gpu
from fcnrt.gpu.kernels import Kernels

from .inputs import Models, imported, kernel_records

SMALLEST, USUAL, LARGEST = (1, 32, 32), (1, 64, 96), (3, 130, 140)  # the shapes that engines are built for
TRIAL = "d2l fcn32s"


class Machine:
    """This machine's GPU and what engines are made from.

    Args:
        gpu: the device.
        models: the tiny networks' ONNX files.
        folder: for engines that are built.
    """

    def __init__(self, gpu: Gpu, models: Models, folder: Path):
        self.gpu, self.models, self.folder = gpu, models, folder

    @functools.cached_property
    def kernels(self) -> list[dict[str, Any]]:
        """Records of all kernels for this GPU; skips where there are none."""
        return kernel_records(self.gpu.sm)


class Engine(ABC):
    """One way to run a network on a machine."""

    def __init__(self, machine: Machine):
        self.machine = machine

    @functools.cached_property
    def missing(self) -> str:
        """Why this machine cannot; "" if it can."""
        return self._why_not()

    @abstractmethod
    def _why_not(self) -> str:
        """`missing`, found out."""

    @abstractmethod
    def open(self, name: str, precision: str = "fp32", **arguments: Any) -> fcnrt.Segmenter:
        """A tiny network on the GPU; `arguments` are the Segmenter's."""


class TensorRt(Engine):
    """Engines that are built on the spot, by TensorRT or TensorRT for RTX."""

    def __init__(self, machine: Machine, flavour: str, tail: str = "kernel"):
        super().__init__(machine)
        self._flavour, self._tail = flavour, tail

    def _why_not(self) -> str:
        try:
            imported(MODULES[self._flavour])
        except (ImportError, OSError) as error:
            return f"{self._flavour} cannot be imported: {error}"
        try:
            flavour = load_flavour(self._flavour)
        except ExportError as error:
            return str(error)
        if flavour.ahead_of_time and self.machine.gpu.sm not in flavour.sms:
            return f"{flavour.title} builds for {flavour.sms}, this GPU has {self.machine.gpu.sm}"
        return ""

    def open(self, name: str, precision: str = "fp32", **arguments: Any) -> fcnrt.Segmenter:
        return fcnrt.Segmenter(self.file(name, precision), device="cuda", **arguments)

    def file(self, name: str, precision: str = "fp32") -> Path:
        """The engine of a tiny network; built once."""
        model = self.machine.models(name, precision)
        engine = self.machine.folder / f"{model.stem}-{self._flavour}-{self._tail}.engine"
        if not engine.exists():
            self._build(model, engine)
        return engine

    def _build(self, model: Path, engine: Path) -> None:
        profile = ["--profile", ":".join(map(shape_text, (SMALLEST, USUAL, LARGEST)))]
        cache = ["--timing-cache", str(self.machine.folder / "timing.cache")] if self._flavour == "tensorrt" else []
        chosen = ["--flavour", self._flavour, "--tail", self._tail]
        records = self.machine.kernels  # compiled once for all engines, perhaps elsewhere
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiling, "compile_kernels", functools.partial(chosen_records, records))
            assert build_engine.main([str(model), "-o", str(engine), *chosen, *profile, *cache]) == 0


class OnnxRuntime(Engine):
    """ONNX Runtime's CUDA provider.

    Args:
        machine: to run on.
        kernels: whether kernels are installed; the graph's own tail serves otherwise.
    """

    def __init__(self, machine: Machine, kernels: bool):
        super().__init__(machine)
        self._has_kernels = kernels

    def _why_not(self) -> str:
        try:
            imported("onnxruntime")
            reason = onnxruntime_cuda.why_not_cuda()
            if not reason:
                self.open(TRIAL).close()
        except ImportError as error:
            return str(error)
        except fcnrt.BackendError as error:
            if "does not load" not in str(error):
                raise
            return str(error)
        return reason

    def open(self, name: str, precision: str = "fp32", **arguments: Any) -> fcnrt.Segmenter:
        model, records = self.machine.models(name, precision), self.machine.kernels if self._has_kernels else []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(onnxruntime_cuda, "installed_kernels", lambda sm: records)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "no kernels are installed")
                return fcnrt.Segmenter(model, device="cuda", **arguments)


class TorchStandIn(Engine):
    """torch in the place of an engine: it exercises memory, streams and kernels on machines that have no other."""

    def __init__(self, machine: Machine):
        super().__init__(machine)
        self._networks: dict[tuple[str, str], Any] = {}

    def _why_not(self) -> str:
        try:
            torch = imported("torch")
        except (ImportError, OSError) as error:
            return f"torch cannot be imported: {error}"
        return "" if torch.cuda.is_available() else "this torch has no CUDA"

    def open(self, name: str, precision: str = "fp32", **arguments: Any) -> fcnrt.Segmenter:
        model = self.machine.models(name, precision)
        with pytest.MonkeyPatch.context() as patch:
            backend = functools.partial(self._backend, name, precision)
            patch.setattr(segmenter, "open_backend", backend)
            return fcnrt.Segmenter(model, device="cuda", **arguments)

    def _backend(self, name: str, precision: str, path: Path, options: Options) -> GpuBackend:
        from .torch_network import TorchNetwork, network_on_gpu

        gpu = self.machine.gpu
        if (name, precision) not in self._networks:
            self._networks[name, precision] = network_on_gpu(gpu, name, precision)
        with gpu.current():
            network = TorchNetwork(gpu, read_spec(path), self._networks[name, precision])
        return GpuBackend(gpu, network, Kernels(gpu, self.machine.kernels), options)


# Engines that end at the scores, and those that end in labels and can do less.
WITH_KERNELS: dict[str, Callable[[Machine], Engine]] = {
    "tensorrt": lambda machine: TensorRt(machine, "tensorrt"),
    "tensorrt-rtx": lambda machine: TensorRt(machine, "tensorrt-rtx"),
    "onnxruntime": lambda machine: OnnxRuntime(machine, kernels=True),
    "torch": TorchStandIn,
}
LABELS_ONLY: dict[str, Callable[[Machine], Engine]] = {
    "tensorrt with its own tail": lambda machine: TensorRt(machine, "tensorrt", "graph"),
    "tensorrt-rtx with its own tail": lambda machine: TensorRt(machine, "tensorrt-rtx", "graph"),
    "onnxruntime with its own tail": lambda machine: OnnxRuntime(machine, kernels=False),
}


def chosen_records(records: list[dict[str, Any]], sms: Any, scores: str, labels: str) -> list[dict[str, Any]]:
    """What compiling.compile_kernels would give, from records of all kernels for this GPU."""
    return [
        record
        for record in records
        if record["name"] != "upsample_argmax" or record["variant"].startswith(f"{scores}-{labels}-")
    ]
