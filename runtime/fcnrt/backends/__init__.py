"""Inference engines behind one interface, chosen by the file's suffix and imported only when chosen."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract import onnx_file, sidecar
from ..contract.certificate import Certificate, check_loss, checked_certificate
from ..contract.kinds import command_for
from ..contract.seal import seal_command
from ..contract.sidecar import Sidecar
from ..contract.spec import ModelSpec
from ..errors import BackendError, ModelFileError, UsageError, fcnrt_command, one_line, short
from .base import Backend, Options

if TYPE_CHECKING:
    from .onnx_model import OnnxModel

__all__ = [
    "Backend", "Options", "certificate_of", "check_path", "open_backend", "read_model", "read_spec", "seal_model",
]  # fmt: skip

_MADE_BY = {".onnx": "export CHECKPOINT", ".engine": "build MODEL.onnx"}


def open_backend(path: Path, options: Options) -> Backend:
    """Load a model file into the engine for its suffix, on the device asked for.

    Raises:
        ModelFileError: there is no such file, or no engine for its suffix; it is damaged, foreign, newer, or not
            certified as asked; or as the engine says.
        MissingDependency: the engine's package is not installed.
        BackendError: the device is not to be had.
    """
    check_path(path)
    index = gpu_index(options.device)
    _check_engine(path, options, index)
    model = read_model(path)
    certificate = None
    if options.require_parity is not None:
        certificate = _certificate(model, model.described)
        check_loss(certificate, options.require_parity, str(path))
    if not model.sealed:
        warnings.warn(
            one_line(
                f"{path}: carries no digest, so that damage to it would not show; `{seal_command(path)}` adds one"
            ),
            RuntimeWarning,
            stacklevel=3,
        )
    backend = _open(model, options, index)
    if certificate is not None:
        _check_covered(backend, certificate, path)
    return backend


def read_spec(path: Path) -> ModelSpec:
    """What a model file says of itself, without an engine.

    Raises:
        ModelFileError: the file is missing, of an unknown suffix, damaged, foreign or newer.
    """
    return read_model(path).spec


def certificate_of(model: OnnxModel | Sidecar) -> Certificate:
    """The certificate of parity in a model file, which is looked at whole: it must be what was certified.

    Raises:
        ModelFileError: there is no certificate, or none that counts.
    """
    return _certificate(model, model.subject())


def read_model(path: Path) -> OnnxModel | Sidecar:
    """A model file's own description: the parsed ONNX file, or an engine's sidecar.

    Raises:
        ModelFileError: the file is missing, of an unknown suffix, damaged, foreign or newer.
    """
    check_path(path)
    if path.suffix == ".engine":
        return sidecar.read_sidecar(path)
    from .onnx_model import OnnxModel

    return OnnxModel(path)


def gpu_index(device: str) -> int | None:
    """The GPU that a device's name means, None for the CPU; raises BackendError where it means nothing."""
    kind, _, index = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (":" in device and not (kind == "cuda" and index.isdecimal())):
        raise BackendError(f"device {device!r}: expected auto, cpu, cuda or cuda:N")
    return None if kind == "cpu" else int(index or 0)


def _check_engine(path: Path, options: Options, index: int | None) -> None:
    """Refuse to run an .engine file by what cannot."""
    if path.suffix != ".engine":
        return
    if options.engine != "auto":
        raise UsageError(f"engine: expected 'auto' for an .engine file, which TensorRT runs, got {options.engine!r}")
    if isinstance(options.tile, int):
        raise UsageError("tile: tiles are for the CPU; use the .onnx file there, or frames within the engine's profile")
    if index is None:
        raise BackendError(f"device {options.device!r}: engines run on GPUs; on the CPU use the .onnx file")


def seal_model(path: Path) -> bool:
    """Seal a model file as it is now, which was changed on purpose; its certificate is taken away.

    Returns:
        Whether there was one.

    Raises:
        ModelFileError: the file is missing, of an unknown suffix, or no model file any more.
        OSError: it cannot be read or written.
    """
    check_path(path)
    return sidecar.seal_file(path) if path.suffix == ".engine" else onnx_file.seal_file(path)


def _certificate(model: OnnxModel | Sidecar, subject: str) -> Certificate:
    return checked_certificate(model.parity, subject, str(model.path))


def _check_covered(backend: Backend, certificate: Certificate, path: Path) -> None:
    """Close a backend that computes otherwise than what was certified: raises ModelFileError."""
    if not certificate.covers(backend.precision):
        backend.close()
        raise ModelFileError(
            f"{path}: certified, but not for {backend.precision}; certify it with fcnrt parity "
            f"--precision {backend.precision}, or use precision='fp32'"
        )


def _open(model: OnnxModel | Sidecar, options: Options, index: int | None) -> Backend:
    if isinstance(model, Sidecar):
        from .tensorrt import open_engine

        return open_engine(model, options, index or 0)
    return _open_onnx(model, options, index)


def _open_onnx(model: OnnxModel, options: Options, index: int | None) -> Backend:
    if index is not None and not _is_for_the_cpu(options):
        from .onnxruntime_cuda import NoCudaProvider, open_on_cuda, why_not_cuda

        reason = why_not_cuda()
        if not reason:
            try:
                return open_on_cuda(model, options, index)
            except NoCudaProvider as error:
                reason, model = str(error), model.reread()
        if options.device != "auto":
            raise BackendError(f"device {options.device!r}: {reason}; use device='cpu'")
    from .cpu import open_on_cpu

    return open_on_cpu(model, options)


def _is_for_the_cpu(options: Options) -> bool:
    """Whether only engines of the CPU do what was asked for; raises UsageError where a GPU was asked for as well."""
    chosen = options.engine == "openvino" or options.precision == "bf16" or isinstance(options.tile, int)
    if chosen and options.device != "auto":
        raise UsageError(f"device {options.device!r}: OpenVINO, bfloat16 and tiles are for the CPU; use device='cpu'")
    return chosen


def check_path(path: Path) -> None:
    """Raise ModelFileError where a path cannot be a model's: by its name, or because nothing is there."""
    if path.suffix not in _MADE_BY:
        remedy = command_for(path) or f"; make one of a checkpoint: {fcnrt_command('export CHECKPOINT')}"
        raise ModelFileError(f"{path}: expected a .onnx or .engine file, got {path.suffix or 'no suffix'}{remedy}")
    if not path.is_file():
        making = fcnrt_command(f"{_MADE_BY[path.suffix]} -o {shlex.quote(short(path))}")
        raise ModelFileError(f"{path}: no such file; make it with: {making}")
