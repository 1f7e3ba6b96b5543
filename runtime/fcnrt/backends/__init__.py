"""Inference engines behind one interface, chosen by the file's suffix and imported only when chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.certificate import Certificate, checked_certificate
from ..contract.kinds import command_for
from ..contract.spec import ModelSpec
from ..errors import BackendError, ModelFileError, UsageError
from .base import Backend, Options

if TYPE_CHECKING:
    from ..contract.sidecar import Sidecar
    from .onnx_model import OnnxModel

__all__ = ["Backend", "Options", "check_path", "open_backend", "read_certificate", "read_model", "read_spec"]

EXPORT_COMMANDS = {".onnx": "export/to_onnx.py CHECKPOINT", ".engine": "export/build_engine.py MODEL.onnx"}


def open_backend(path: Path, options: Options) -> Backend:
    """Load a model file into the engine for its suffix, on the device asked for.

    Raises:
        ModelFileError: there is no such file, or no engine for its suffix; or as the engine says.
        MissingDependency: the engine's package is not installed.
        BackendError: the device is not to be had.
    """
    check_path(path)
    index = gpu_index(options.device)
    if path.suffix == ".onnx":
        return _open_onnx(path, options, index)
    from .tensorrt import open_engine

    if options.engine != "auto":
        raise UsageError(f"engine: expected 'auto' for an .engine file, which TensorRT runs, got {options.engine!r}")
    if index is None:
        raise BackendError(f"device {options.device!r}: engines run on GPUs; on the CPU use the .onnx file")
    return open_engine(path, options, index)


def read_spec(path: Path) -> ModelSpec:
    """What a model file says of itself, without an engine.

    Raises:
        ModelFileError: the file is missing, of an unknown suffix, damaged, foreign or newer.
    """
    return read_model(path).spec


def read_certificate(path: Path) -> Certificate:
    """The certificate of parity in a model file, which is read whole: it must be what was certified.

    Raises:
        ModelFileError: as of `read_spec`; or there is no certificate, or none that counts.
    """
    model = read_model(path)
    return checked_certificate(model.parity, model.subject(), str(path))


def read_model(path: Path) -> OnnxModel | Sidecar:
    """A model file's own description: the parsed ONNX file, or an engine's sidecar.

    Raises:
        ModelFileError: the file is missing, of an unknown suffix, damaged, foreign or newer.
    """
    check_path(path)
    if path.suffix == ".engine":
        from ..contract.sidecar import read_sidecar

        return read_sidecar(path)
    from .onnx_model import OnnxModel

    return OnnxModel(path)


def gpu_index(device: str) -> int | None:
    """The GPU that a device's name means, None for the CPU; raises BackendError where it means nothing."""
    kind, _, index = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (":" in device and not (kind == "cuda" and index.isdecimal())):
        raise BackendError(f"device {device!r}: expected auto, cpu, cuda or cuda:N")
    return None if kind == "cpu" else int(index or 0)


def _open_onnx(path: Path, options: Options, index: int | None) -> Backend:
    if index is not None and not _is_for_the_cpu(options):
        from .onnxruntime_cuda import NoCudaProvider, open_on_cuda, why_not_cuda

        reason = why_not_cuda()
        if not reason:
            try:
                return open_on_cuda(path, options, index)
            except NoCudaProvider as error:
                reason = str(error)
        if options.device != "auto":
            raise BackendError(f"device {options.device!r}: {reason}; use device='cpu'")
    from .cpu import open_on_cpu

    return open_on_cpu(path, options)


def _is_for_the_cpu(options: Options) -> bool:
    """Whether only engines of the CPU do what was asked for; raises UsageError where a GPU was asked for as well."""
    chosen = options.engine == "openvino" or options.precision == "bf16"
    if chosen and options.device != "auto":
        raise UsageError(f"device {options.device!r}: OpenVINO and bfloat16 are for the CPU; use device='cpu'")
    return chosen


def check_path(path: Path) -> None:
    """Raise ModelFileError where a path cannot be a model's: by its name, or because nothing is there."""
    if path.suffix not in EXPORT_COMMANDS:
        raise ModelFileError(
            f"{path}: expected a .onnx or .engine file, got {path.suffix or 'no suffix'}"
            f"{command_for(path) or '; make one of a checkpoint: fcnrt export CHECKPOINT'}"
        )
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; make it with: python {EXPORT_COMMANDS[path.suffix]} -o {path}")
