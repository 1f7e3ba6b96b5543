"""What parity is measured of: model files as fcnrt.Segmenter runs them, and ONNX graphs as ONNX Runtime alone does."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fcnrt import BackendError, ModelSpec, Segmenter
from fcnrt.backends import read_model
from fcnrt.contract.types import UInt8Array
from fcnrt.errors import first_line
from fcnrt.gpu.cuda import Gpu

from ..machine import cpu_name


class Labeller(Protocol):
    """A model that is loaded: RGB frames (H, W, 3) uint8 to labels (H, W).

    Attributes:
        device: where, "cpu" or "cuda:N".
        engine: by what.
        precision: in what it computes.
    """

    device: str
    engine: str
    precision: str

    def __call__(self, frame_hwc: UInt8Array) -> npt.NDArray[Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Artefact:
    """One row of a comparison: a file and the way to run it.

    Attributes:
        plain: run the whole graph up to `labels` in ONNX Runtime, with no code of ours.
        device, precision: those asked for, as Segmenter takes them.
        spec: what the file says of itself.
        subject: digest that a certificate is bound to.
        sha256: of the file.
    """

    path: Path
    plain: bool
    device: str
    precision: str
    spec: ModelSpec
    subject: str
    sha256: str

    def open(self, threads: int | None) -> Labeller:
        """Load it; raises FcnrtError where it cannot run here."""
        if self.plain:
            return PlainGraph(self.path, self.spec.color, threads)
        precision: Any = self.precision
        return Segmenter(self.path, device=self.device, threads=threads, color="rgb", precision=precision)


class PlainGraph:
    """An exported file as any program runs it: ONNX Runtime, `frames` in, `labels` out.

    Args:
        color: the channel order that the file wants.

    Raises:
        BackendError: ONNX Runtime refuses the file.
    """

    device, engine, precision = "cpu", "onnxruntime", "fp32"

    def __init__(self, path: Path, color: str, threads: int | None):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, threads or 0
        self._order = slice(None) if color == "rgb" else slice(None, None, -1)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # they share no base class
            raise BackendError(f"{path}: ONNX Runtime cannot load it: {first_line(error)}") from error

    def __call__(self, frame_hwc: UInt8Array) -> npt.NDArray[Any]:
        frames = np.ascontiguousarray(frame_hwc[None, ..., self._order])
        try:
            return np.asarray(self._session.run(["labels"], {"frames": frames})[0][0])
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on {frames.shape}: {first_line(error)}") from error

    def close(self) -> None:
        del self._session


def find_artefacts(
    paths: Sequence[Path], devices: Sequence[str], plain: bool, precisions: Sequence[str] = ("auto",)
) -> list[Artefact]:
    """Every file on every device, ONNX files in every precision, and their plain graphs if wanted.

    Raises:
        ModelFileError: a file is missing, damaged or foreign.
    """
    return [artefact for path in dict.fromkeys(paths) for artefact in _ways(path, devices, plain, precisions)]


def _ways(path: Path, devices: Sequence[str], plain: bool, precisions: Sequence[str]) -> Iterator[Artefact]:
    model = read_model(path)
    facts = (model.spec, model.subject(), hashlib.sha256(path.read_bytes()).hexdigest())
    if path.suffix == ".engine":  # one that is asked for on the CPU alone is left to say why not
        devices, precisions = [device for device in devices if device != "cpu"] or devices, ["auto"]
    for device, precision in dict.fromkeys(itertools.product(devices, precisions)):
        yield Artefact(path, False, device, precision, *facts)
    if plain and path.suffix == ".onnx":
        yield Artefact(path, True, "cpu", "auto", *facts)


def hardware_of(device: str) -> str:
    """What a device, "cpu" or "cuda:N", calls itself."""
    kind, _, index = device.partition(":")
    return cpu_name() or "unknown CPU" if kind == "cpu" else Gpu(int(index or 0)).name
