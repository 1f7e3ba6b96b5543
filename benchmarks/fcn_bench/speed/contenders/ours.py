"""fcnrt itself: frames to labels by a Segmenter."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from fcnrt import Segmenter

from .base import CannotRun, Contender, Setup


def on_onnx(setup: Setup) -> Contender:
    """The exported file: ONNX Runtime up to the scores, then our tail."""
    options = {"engine": "onnxruntime", "precision": "fp32"} if setup.device == "cpu" else {}
    return _contender(setup.model, setup, **options)


def on_engine(setup: Setup) -> Contender:
    """A TensorRT engine, with our kernels around it."""
    if setup.engine is None:
        raise CannotRun("needs --engine MODEL.engine, and a GPU")
    return _contender(setup.engine, setup)


def on_openvino(setup: Setup, precision: str) -> Contender:
    """The exported file: OpenVINO up to the scores, then our tail."""
    _on_the_cpu(setup)
    return _contender(setup.model, setup, engine="openvino", precision=precision)


def on_int8(setup: Setup, engine: str) -> Contender:
    """The INT8 file of the same checkpoint."""
    _on_the_cpu(setup)
    if setup.int8 is None:
        raise CannotRun("needs --int8 MODEL-int8.onnx")
    return _contender(setup.int8, setup, engine=engine, precision="fp32")


openvino_fp32 = partial(on_openvino, precision="fp32")
openvino_bf16 = partial(on_openvino, precision="bf16")
int8 = partial(on_int8, engine="onnxruntime")
openvino_int8 = partial(on_int8, engine="openvino")


def computed_in(setup: Setup) -> str:
    """The precision that ONNX Runtime computes a file's network in: the CPU provider has no halves."""
    from fcnrt.backends import read_spec

    kept = read_spec(setup.model).precision
    return "fp32" if setup.device == "cpu" else kept


def _on_the_cpu(setup: Setup) -> None:
    if setup.device != "cpu":
        raise CannotRun("engines of the CPU")


def _contender(path: Path, setup: Setup, **options: Any) -> Contender:
    segment = Segmenter(path, device=setup.device, threads=setup.threads, **options)
    return Contender(segment, segment.precision, close=segment.close)
