"""Tiny networks in INT8, with every convolution and addition quantised as TensorRT takes them."""

from __future__ import annotations

from pathlib import Path

import onnx

from exports import save
from frames import frames_of


def fully_quantised_file(source: Path, target: Path) -> Path:
    """Of an exported float32 file, without looking at what it costs, as the exporter would."""
    from fcn_export.quantization.qdq import convolutions, quantised

    exact = onnx.load(source)
    model = quantised(exact, (frames_of(1, 65, 97, seed) for seed in range(3)), convolutions(exact))
    next(entry for entry in model.metadata_props if entry.key == "fcn.precision").value = '"int8"'
    return save(model, target)
