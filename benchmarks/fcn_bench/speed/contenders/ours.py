"""fcnrt itself: frames to labels by a Segmenter."""

from __future__ import annotations

from pathlib import Path

from fcnrt import Segmenter

from .base import CannotRun, Contender, Setup


def on_onnx(setup: Setup) -> Contender:
    """The exported file: ONNX Runtime up to the scores, then our tail."""
    return _contender(setup.model, setup, computed_in(setup))


def on_engine(setup: Setup) -> Contender:
    """A TensorRT engine, with our kernels around it."""
    if setup.engine is None:
        raise CannotRun("needs --engine MODEL.engine, and a GPU")
    return _contender(setup.engine, setup)


def computed_in(setup: Setup) -> str:
    """The precision that ONNX Runtime computes a file's network in: the CPU provider has no halves."""
    from fcnrt.backends import read_spec

    kept = read_spec(setup.model).precision
    return "fp32" if setup.device == "cpu" else kept


def _contender(path: Path, setup: Setup, precision: str = "") -> Contender:
    segment = Segmenter(path, device=setup.device, threads=setup.threads)
    return Contender(segment, precision or segment.spec.precision, close=segment.close)
