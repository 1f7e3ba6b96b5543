"""Configurations of NVIDIA's DeepStream: nvinfer for planes of floats, nvinferserver with Triton inside for bytes.

https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html and -nvinferserver.html
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fcnrt.contract.precision import Precision

from ..errors import ExportError
from .served import Served, whole_folder
from .text_format import Word, text_of
from .triton import TritonOptions, write_repository

LEAST = -1e6  # threshold below all scores: a class wins by being the largest, not by its size
_EXPORT = "export the checkpoint with --input nchw-float --output-type scores-float --height H --width W"


def write_app(model: Served, folder: Path) -> list[Path]:
    """Write a folder that DeepStream's configurations point into.

    Returns:
        Its files that a pipeline names.

    Raises:
        ExportError: the folder exists already, or DeepStream cannot take the file.
        OSError: it cannot be written.
    """
    if model.spec.interface.planes:
        _check_for_nvinfer(model)
    with whole_folder(folder) as part:
        (part / "labels.txt").write_text(";".join(model.spec.classes) + "\n", encoding="utf-8")
        if model.spec.interface.planes:
            shutil.copyfile(model.path, part / "model.onnx")
            (part / "config_infer.txt").write_text(_nvinfer(model), encoding="utf-8")
            return [folder / "config_infer.txt", folder / "labels.txt"]
        write_repository(model, part / "models", TritonOptions())
        (part / "config_inferserver.txt").write_text(_nvinferserver(model), encoding="utf-8")
        return [folder / "config_inferserver.txt", folder / "models", folder / "labels.txt"]


def _check_for_nvinfer(model: Served) -> None:
    got = f"got {model.input} to {model.output}"
    if model.spec.interface.input_range != "0-255":
        raise ExportError(f"{model.path}: nvinfer's planes are 0 to 255, this file's are normalised; {_EXPORT}")
    if model.output.name != "logits":
        raise ExportError(f"{model.path}: nvinfer takes scores of every class, {got}; {_EXPORT}")
    if None in model.input.sizes[1:]:
        raise ExportError(f"{model.path}: nvinfer takes files of one size, {got}; {_EXPORT}")


def _nvinfer(model: Served) -> str:
    _, _, height, width = model.input.sizes
    properties = {
        "gpu-id": 0,
        "onnx-file": "model.onnx",
        "labelfile-path": "labels.txt",
        "batch-size": model.most or 1,
        "infer-dims": f"3;{height};{width}",
        "network-input-order": 0,
        "model-color-format": int(model.spec.color == "bgr"),
        "net-scale-factor": 1,
        "network-mode": 2 if model.spec.precision == Precision.FP16 else 0,
        "network-type": 2,
        "num-detected-classes": len(model.spec.classes),
        "output-blob-names": model.output.name,
        "segmentation-threshold": LEAST,
        "gie-unique-id": 1,
    }
    return "[property]\n" + "".join(f"{key}={value}\n" for key, value in properties.items())


def _nvinferserver(model: Served) -> str:
    infer = {
        "unique_id": 1,
        "gpu_ids": [0],
        "max_batch_size": model.most or 1,
        "backend": {
            "triton": {
                "model_name": model.name,
                "version": -1,
                "model_repo": {"root": "models", "strict_model_config": True},
            }
        },
        "preprocess": {
            "network_format": Word(f"IMAGE_FORMAT_{model.spec.color.upper()}"),
            "tensor_order": Word("TENSOR_ORDER_NHWC"),
            "maintain_aspect_ratio": 0,
            "normalize": {"scale_factor": 1.0},
        },
        "postprocess": {"labelfile_path": "labels.txt", "other": {}},
    }
    return text_of({"infer_config": infer, "output_control": {"output_tensor_meta": True}})
