"""The script that tutorials end with: normalise in numpy, run the exported network, np.argmax over full-size logits."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np

from fcnrt.backends import read_spec
from fcnrt.contract.types import Array, label_dtype

from .base import Contender, Frames, Setup
from .with_onnxruntime import new_session


def with_onnxruntime(setup: Setup) -> Contender:
    """torch.onnx.export of the upstream network, float pictures in and logits out, in ONNX Runtime."""
    spec = read_spec(setup.model)
    mean, std, scale = (np.array(values, np.float32) for values in (spec.mean, spec.std, spec.scale))
    session = new_session(_exported(setup), setup)
    trained_on = session.get_modelmeta().custom_metadata_map["color"]
    order = slice(None) if spec.color == trained_on else slice(None, None, -1)
    dtype = label_dtype(len(spec.classes))

    def label(frames: Frames) -> Array:
        x = (frames.astype(np.float32) * scale - mean) / std
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)[:, order])  # (N, 3, H, W)
        (logits,) = session.run(None, {"image": x})  # (N, C, H, W)
        return np.argmax(logits, axis=1).astype(dtype)

    return Contender(label, "fp32", note="the upstream network, exported by torch")


def _exported(setup: Setup) -> Path:
    """The network as an ONNX file, which says in its metadata what colour order it was trained on."""
    path = setup.folder / "textbook.onnx"
    if not path.exists():  # else torch is not even loaded, as such a script would not
        import onnx

        from .upstream import network

        net, contract = network(setup)
        model = onnx.load_from_string(_traced(net))
        onnx.helper.set_model_props(model, {"color": contract.color})
        path.write_bytes(model.SerializeToString())
    return path


def _traced(net: object) -> bytes:
    import torch

    axes = {0: "batch", 2: "height", 3: "width"}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated; it writes opset 17 as ours does
        torch.onnx.export(
            net,
            (torch.rand(1, 3, 64, 96),),
            file,
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": axes, "logits": axes},
        )
    return file.getvalue()
