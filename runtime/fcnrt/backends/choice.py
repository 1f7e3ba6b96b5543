"""Which engine runs a file on the CPU, and in which precision.

ONNX Runtime in float32 unless another was asked for, or was measured to be faster: on this machine, for this file, by
`fcnrt tune`. Bfloat16 gives other labels here and there: it must be asked for, or the file must be certified for it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from ..contract.certificate import checked_certificate
from ..contract.precision import Precision
from ..errors import ModelFileError, UsageError
from . import tuning
from .base import Options
from .onnx_model import OnnxModel

WORTHWHILE = 0.97  # of ONNX Runtime's time; less of a gain may be noise


class Way(NamedTuple):
    """An engine, which is a module of this package, and a precision that it can compute in."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


WAYS = (Way("onnxruntime", "fp32"), Way("openvino", "fp32"), Way("openvino", "bf16"))
USUAL = WAYS[0]


def choose(model: OnnxModel, options: Options) -> Way:
    """The fastest way known that the options and the file allow; raises UsageError where there is none at all."""
    ways = allowed_ways(options)
    if options.engine == "auto":
        ways = [way for way in ways if find_spec(way.engine)] or ways  # what is missing is told when it is loaded
        ways = [way for way in ways if is_alike(way, model.spec.precision)] or ways
    times = tuning.recall(model.file, options.threads)
    ranked = sorted(ways, key=lambda way: _rank(times.get(str(way))))
    return next(way for way in ranked if way.precision in ("fp32", options.precision) or _is_certified(model, way))


def allowed_ways(options: Options) -> list[Way]:
    """The ways that an engine and a precision leave open.

    Raises:
        UsageError: the engine has no such precision.
    """
    ways = [
        way for way in WAYS if options.engine in ("auto", way.engine) and options.precision in ("auto", way.precision)
    ]
    if not ways:
        raise UsageError(
            f"precision: {options.engine} has no {options.precision} on the CPU; "
            "use engine='openvino', or precision='fp32'"
        )
    return ways


def is_alike(way: Way, precision: str) -> bool:
    """Whether a way may stand in for the usual one unasked: engines round int8 differently, so there none may."""
    return precision != Precision.INT8 or way.engine == USUAL.engine


def _rank(ratio: float | None) -> float:
    """Of a way by its share of ONNX Runtime's time; what was not measured, or hardly gains, is as good as the usual."""
    return ratio if ratio is not None and ratio < WORTHWHILE else 1.0


def _is_certified(model: OnnxModel, way: Way) -> bool:
    try:
        return checked_certificate(model.parity, model.described, str(model.path)).covers(way.precision)
    except ModelFileError:
        return False
