"""A model file as a server sees it: its outer tensors and its facts."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcnrt.contract.files import part_name
from fcnrt.contract.interface import Tensor
from fcnrt.contract.kinds import command_for
from fcnrt.contract.onnx_file import OnnxFile
from fcnrt.contract.sidecar import read_sidecar
from fcnrt.contract.spec import ModelSpec
from fcnrt.contract.types import Shape
from fcnrt.contract.weights import without_weights

from ..errors import ExportError

USUAL_SIZE = (480, 640)  # of frames to warm up with, where a file tells none


@dataclass(frozen=True)
class Served:
    """A model file.

    Attributes:
        name: that clients ask for.
        kind: "onnx", or "tensorrt" for an engine.
        input, output: the outer tensors, with the sizes that the file fixes.
        axes: where batch, height and width stand in the input.
        profiles: how many shape profiles an engine has.
        usual: batch, height and width to warm up with.
        most: frames in a batch; None where any number will do.
        batch_is_free: whether frames of several requests may go in one batch.
    """

    path: Path
    name: str
    spec: ModelSpec
    kind: Literal["onnx", "tensorrt"]
    input: Tensor
    output: Tensor
    axes: tuple[int, int, int]
    profiles: int
    usual: Shape
    most: int | None
    batch_is_free: bool


def served(path: Path, name: str | None) -> Served:
    """Read a model file.

    Args:
        path: of an ONNX file, or of an engine with its sidecar.
        name: that clients are to ask for; None for the file's own.

    Raises:
        ModelFileError: it is damaged, foreign or newer.
        ExportError: it is neither, is not there, or no server takes it.
        OSError: it cannot be read.
    """
    known = re.sub(r"[^\w.-]", "-", path.stem) if name is None else name
    if not re.fullmatch(r"[\w-][\w.-]*", known):
        raise ExportError(f"--name {known}: expected letters, digits, dots, dashes and underscores")
    if path.suffix in (".onnx", ".engine") and not path.exists():
        raise ExportError(f"{path}: no such file; expected one of fcnrt export or fcnrt build")
    if path.suffix == ".onnx":
        return _of_onnx(path, known)
    if path.suffix == ".engine":
        return _of_engine(path, known)
    raise ExportError(f"{path}: expected a .onnx or .engine file{command_for(path)}")


def _of_onnx(path: Path, name: str) -> Served:
    data = path.read_bytes()
    file = OnnxFile(path, data)
    file.check_weights(io.BytesIO(data), without_weights(data)[1])
    interface = file.spec.interface
    given = _with(interface.input_tensor(), interface.frame_axes, file.fixed_shape)
    output = _with(interface.output_tensor(len(file.spec.classes)), interface.output_axes, file.fixed_shape)
    batch, height, width = (fixed or usual for fixed, usual in zip(file.fixed_shape, (1, *USUAL_SIZE), strict=True))
    fixed_batch = file.fixed_shape[0]
    return Served(
        path,
        name,
        file.spec,
        "onnx",
        given,
        Tensor(output.name, file.labels_type if output.name == "labels" else output.dtype, output.sizes),
        interface.frame_axes,
        1,
        (batch, height, width),
        fixed_batch,
        fixed_batch is None,
    )


def _of_engine(path: Path, name: str) -> Served:
    sidecar = read_sidecar(path)
    sidecar.plan()
    if sidecar.flavour != "tensorrt":
        raise ExportError(
            f"{path}: built with TensorRT for RTX, which Triton and DeepStream do not load; build it with "
            "--flavour tensorrt, or serve the ONNX file"
        )
    interface, classes = sidecar.spec.interface, len(sidecar.spec.classes)
    least, most = (find(profile.bounds[end][0] for profile in sidecar.profiles) for find, end in ((min, 0), (max, 2)))
    scores = Tensor("scores", {"fp32": "float32", "fp16": "float16"}[sidecar.scores_type], (None, classes, None, None))
    return Served(
        path,
        name,
        sidecar.spec,
        "tensorrt",
        interface.input_tensor(),
        scores if sidecar.output == "scores" else interface.output_tensor(classes),
        interface.frame_axes,
        len(sidecar.profiles),
        sidecar.profiles[0].opt,
        most,
        least == 1 and most > 1,
    )


def _with(tensor: Tensor, axes: tuple[int, int, int], fixed: tuple[int | None, int | None, int | None]) -> Tensor:
    """The tensor with the sizes that a file fixes."""
    known = dict(zip(axes, fixed, strict=True))
    sizes = tuple(known.get(axis) or size for axis, size in enumerate(tensor.sizes))
    return Tensor(tensor.name, tensor.dtype, sizes)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that gets this name when the block ends without error; raises ExportError where it exists."""
    if folder.exists():
        raise ExportError(f"{folder}: exists already; remove it, or choose another --name or folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = part_name(folder)
    part.mkdir()
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
