"""A model repository of NVIDIA's Triton Inference Server.

https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from fcnrt.contract.interface import Tensor

from ..errors import ExportError
from .served import Served, whole_folder
from .text_format import Message, Word, text_of

TYPES = {"uint8": "UINT8", "uint16": "UINT16", "int32": "INT32", "float32": "FP32", "float16": "FP16"}
PLATFORMS = {"onnx": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
WARM_UP_NAME = "frames of zeros"

By = Literal["server", "fcnrt"]


@dataclass(frozen=True)
class TritonOptions:
    """How a model is served.

    Attributes:
        by: "server" for Triton's own backend of the file, "fcnrt" for its Python backend with our runtime inside.
        max_batch: most frames in a batch of several requests.
        delay_us: how long a request may wait for others, in microseconds.
        instances: copies of the model on each device.
        device: where they run, "auto", "cpu" or "gpu".
        pictures: whether to add an ensemble that takes a picture file and gives a PNG.
    """

    by: By = "server"
    max_batch: int = 8
    delay_us: int = 0
    instances: int = 1
    device: Literal["auto", "cpu", "gpu"] = "auto"
    pictures: bool = False


def write_repository(model: Served, repository: Path, options: TritonOptions) -> list[Path]:
    """Write folders of models into a repository.

    Returns:
        The folders: the model's, then those of the ensemble.

    Raises:
        ExportError: one exists already, or the file cannot be served so.
        OSError: they cannot be written.
    """
    if options.pictures and (model.output.name != "labels" or model.spec.interface.planes):
        raise ExportError(f"--pictures: expected a file of bytes to labels, got {model.input} to {model.output}")
    folders = [_write_model(model, repository, options)]
    if options.pictures:
        folders += [
            _write_python(model, repository, "decode", _decoder(model)),
            _write_python(model, repository, "png", _encoder(model)),
            _write_ensemble(model, repository),
        ]
    return folders


def config(model: Served, options: TritonOptions) -> Message:
    """The configuration of the model itself, a ModelConfig."""
    batch = min(options.max_batch, model.most or options.max_batch) if model.batch_is_free else 0
    return {
        "name": model.name,
        **_engine(model, options),
        "max_batch_size": batch,
        "input": _tensor(model.input, batch),
        "output": {**_tensor(model.output, batch), "label_filename": "labels.txt"},
        "instance_group": _instances(model, options),
        **({"dynamic_batching": {"max_queue_delay_microseconds": options.delay_us}} if batch else {}),
        "model_warmup": _warm_up(model, batch),
        "parameters": _facts(model),
    }


def _engine(model: Served, options: TritonOptions) -> Message:
    return {"backend": "python"} if options.by == "fcnrt" else {"platform": PLATFORMS[model.kind]}


def _tensor(tensor: Tensor, batch: int) -> Message:
    sizes = tensor.sizes[1:] if batch else tensor.sizes
    return {
        "name": tensor.name,
        "data_type": Word(f"TYPE_{TYPES[tensor.dtype]}"),
        "dims": [-1 if size is None else size for size in sizes],
    }


def _instances(model: Served, options: TritonOptions) -> Message:
    on_gpu = model.kind == "tensorrt" and options.by == "server"
    kind = "KIND_GPU" if on_gpu else f"KIND_{options.device.upper()}"
    profiles = [str(index) for index in range(model.profiles)] if on_gpu and model.profiles > 1 else []
    return {"count": options.instances, "kind": Word(kind), **({"profile": profiles} if profiles else {})}


def _warm_up(model: Served, batch: int) -> Message:
    known = dict(zip(model.axes, model.usual, strict=True))
    sizes = [size or known[axis] for axis, size in enumerate(model.input.sizes)]
    zeros = {
        "data_type": Word(f"TYPE_{TYPES[model.input.dtype]}"),
        "dims": sizes[1:] if batch else sizes,
        "zero_data": True,
    }
    return {"name": WARM_UP_NAME, "batch_size": 1 if batch else 0, "inputs": {"key": "frames", "value": zeros}}


def _facts(model: Served) -> list[Message]:
    return [
        {"key": key, "value": {"string_value": value}}
        for key, value in model.spec.metadata().items()
        if key.startswith("fcn.")
    ]


def _write_model(model: Served, repository: Path, options: TritonOptions) -> Path:
    with whole_folder(repository / model.name) as part:
        (part / "1").mkdir()
        suffix = ".onnx" if model.kind == "onnx" else ".engine" if options.by == "fcnrt" else ".plan"
        shutil.copyfile(model.path, part / "1" / f"model{suffix}")
        if options.by == "fcnrt":
            _copy_python(part / "1", "labels")
            if model.kind == "tensorrt":
                shutil.copyfile(f"{model.path}.json", part / "1" / "model.engine.json")
        (part / "labels.txt").write_text("".join(f"{name}\n" for name in model.spec.classes), encoding="utf-8")
        (part / "config.pbtxt").write_text(text_of(config(model, options)), encoding="utf-8")
    return repository / model.name


def _write_python(model: Served, repository: Path, step: str, message: Message) -> Path:
    folder = repository / f"{model.name}_{step}"
    with whole_folder(folder) as part:
        (part / "1").mkdir()
        _copy_python(part / "1", step)
        (part / "config.pbtxt").write_text(text_of({"name": folder.name, **message}), encoding="utf-8")
    return folder


def _copy_python(folder: Path, name: str) -> None:
    source = resources.files(__package__) / "python_models" / f"{name}.py"
    (folder / "model.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")


def _decoder(model: Served) -> Message:
    return _python(model, ("picture", "STRING", [1]), ("frames", "UINT8", [1, -1, -1, 3]))


def _encoder(model: Served) -> Message:
    labels = (model.output.name, TYPES[model.output.dtype], [1, -1, -1])
    return _python(model, labels, ("png", "STRING", [1]))


def _python(model: Served, given: tuple[str, str, Sequence[int]], made: tuple[str, str, Sequence[int]]) -> Message:
    outer = {
        key: {"name": name, "data_type": Word(f"TYPE_{data_type}"), "dims": list(dims)}
        for key, (name, data_type, dims) in {"input": given, "output": made}.items()
    }
    return {
        "backend": "python",
        "max_batch_size": 0,
        **outer,
        "instance_group": {"count": 1, "kind": Word("KIND_CPU")},
        "parameters": _facts(model),
    }


def _write_ensemble(model: Served, repository: Path) -> Path:
    """picture -> frames -> labels -> png."""
    folder = repository / f"{model.name}_pictures"
    names = ["picture", "frames", model.output.name, "png"]
    models = [f"{model.name}_decode", model.name, f"{model.name}_png"]
    steps = [
        {
            "model_name": name,
            "model_version": -1,
            "input_map": {"key": given, "value": given},
            "output_map": {"key": made, "value": made},
        }
        for name, given, made in zip(models, names[:-1], names[1:], strict=True)
    ]
    outer = {"data_type": Word("TYPE_STRING"), "dims": [1]}
    message = {
        "name": folder.name,
        "platform": "ensemble",
        "max_batch_size": 0,
        "input": {"name": "picture", **outer},
        "output": {"name": "png", **outer},
        "ensemble_scheduling": {"step": steps},
    }
    with whole_folder(folder) as part:
        (part / "1").mkdir()
        (part / "1" / ".keep").touch()  # Triton wants the folder of a version, and archives drop empty ones
        (part / "config.pbtxt").write_text(text_of(message), encoding="utf-8")
    return folder
