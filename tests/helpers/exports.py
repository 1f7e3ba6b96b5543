"""Tiny networks exported as a user exports them, and the files in plain ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import onnx
import onnxruntime
import pytest

from fcnrt.contract.seal import sealed
from network_names import MANY_CLASSES

Export = Callable[..., Path]
FOLDER = "FCNRT_TEST_MODELS"  # environment: where exported files are kept from one run to the next


def exporter(folder: Path) -> Export:
    """A function: name of a tiny network and further flags to the ONNX file that to_onnx.py makes of it, once.

    Files that lie in the folder already are taken as they are; without torch there are no others, and the test that
    asks for one is skipped. The checkpoint lies beside the file that was made of it first.
    """

    def export(name: str, *flags: str) -> Path:
        path = folder / f"{'-'.join((*name.split(), *flags)).replace('/', '_')}.onnx"
        if not path.exists():
            if find_spec("torch") is None:
                pytest.skip(f"no torch to export {path.name} with, and it does not lie in ${FOLDER}")
            _export(name, flags, path)
        return path

    return export


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model that was changed on purpose, sealed as it is."""
    path.write_bytes(sealed(model.SerializeToString()))
    return path


def kept_folder() -> Path | None:
    """The folder that $FCNRT_TEST_MODELS names, made if need be."""
    if not os.environ.get(FOLDER):
        return None
    folder = Path(os.environ[FOLDER])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def plain_session(path: Path) -> onnxruntime.InferenceSession:
    """The file in ONNX Runtime on the CPU, with no code of ours."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def with_uint16_labels(path: Path, target: Path) -> Path:
    """A file of more than 256 classes as it was exported before its labels became int32."""
    model = onnx.load(path)
    (labels,) = (node for node in model.graph.node if "labels" in node.output)
    labels.attribute[0].i = model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT16
    return save(model, target)


def _export(name: str, flags: tuple[str, ...], path: Path) -> None:
    import torch

    from fcn_export.commands import to_onnx
    from tiny_networks import many_classes, options_for, tiny, upstream_state

    checkpoint = path.with_name(f"{name.replace(' ', '-')}.pth")
    torch.save(upstream_state(many_classes() if name == MANY_CLASSES else tiny(name)), checkpoint)
    assert to_onnx.main([str(checkpoint), "-o", str(path), *options_for(name), *flags]) == 0
