"""Everything that the benchmarks compare, one small adapter each; what cannot run says why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import NoReturn

from fcnrt.contract.types import Array
from fcnrt.errors import first_line

from .base import CannotRun, Contender, Frames, Setup

__all__ = [
    "ALWAYS",
    "CONTENDERS",
    "CannotRun",
    "Contender",
    "Frames",
    "Setup",
    "open_contender",
    "reference",
    "selected",
]


@dataclass(frozen=True)
class Entry:
    """A contender's title, and the function of this package that makes it."""

    title: str
    module: str
    function: str


CONTENDERS = {
    "ours": Entry("fcnrt", "ours", "on_onnx"),
    "ours-engine": Entry("fcnrt, TensorRT engine", "ours", "on_engine"),
    "ours-openvino": Entry("fcnrt, OpenVINO", "ours", "openvino_fp32"),
    "ours-bf16": Entry("fcnrt, OpenVINO bf16", "ours", "openvino_bf16"),
    "ours-int8": Entry("fcnrt, INT8 file", "ours", "int8"),
    "ours-int8-openvino": Entry("fcnrt, INT8 file, OpenVINO", "ours", "openvino_int8"),
    "ort-scores": Entry("bare session.run up to the scores", "with_onnxruntime", "bare_scores"),
    "ort-graph": Entry("ONNX Runtime, argmax in the graph", "with_onnxruntime", "whole_graph"),
    "ort-int8": Entry("ORT int8 (quantize_static)", "with_onnxruntime", "static_int8"),
    "ort-textbook": Entry("textbook script: numpy, logits, np.argmax", "textbook", "with_onnxruntime"),
    "torch-eager": Entry("torch eager", "with_torch", "eager"),
    "torch-channels-last": Entry("torch channels-last", "with_torch", "channels_last"),
    "torch-half": Entry("torch half precision", "with_torch", "half"),
    "torch-compile": Entry("torch.compile", "with_torch", "compiled"),
    "openvino-fp32": Entry("OpenVINO fp32", "with_openvino", "fp32"),
    "openvino-bf16": Entry("OpenVINO bf16", "with_openvino", "bf16"),
    "openvino-int8": Entry("OpenVINO int8 (NNCF)", "with_openvino", "nncf_int8"),
    "openvino-scores": Entry("bare infer up to the scores, fp32", "with_openvino", "bare_scores"),
}
ALWAYS = ("ours", "ours-engine", "ort-scores")  # what all ratios are taken to, and the floor


def selected(patterns: Iterable[str]) -> list[str]:
    """Names of contenders in the order of the table: those always there, those named, those of a group named.

    Args:
        patterns: names; the part before a name's dash, as "torch", for all of that group; "all".

    Raises:
        ValueError: a pattern means nothing.
    """
    chosen = set(ALWAYS)
    for pattern in patterns:
        found = {name for name in CONTENDERS if pattern in ("all", name, name.partition("-")[0])}
        if not found:
            raise ValueError(f"contender {pattern}: expected all, a group or one of {', '.join(CONTENDERS)}")
        chosen |= found
    return [name for name in CONTENDERS if name in chosen]


def open_contender(name: str, setup: Setup) -> Contender:
    """Make a contender ready.

    Raises:
        CannotRun: whatever prevents it, in one line; libraries share no base of their exceptions.
    """
    entry = CONTENDERS[name]
    try:
        return getattr(import_module(f".{entry.module}", __name__), entry.function)(setup)
    except Exception as error:
        refuse(error)


def refuse(error: Exception) -> NoReturn:
    """Raise CannotRun with an error's first line."""
    if isinstance(error, CannotRun):
        raise error
    if isinstance(error, ModuleNotFoundError) and error.name:
        raise CannotRun(f"{error.name.partition('.')[0]} is not installed") from error
    raise CannotRun(f"{type(error).__name__}: {first_line(error)}") from error


def reference(setup: Setup) -> tuple[Callable[[Frames], Array], str]:
    """What labels are compared to: torch in FP32 from the checkpoint, else the file itself in ONNX Runtime.

    Returns:
        A function from frames to labels, and what it is.
    """
    on_cpu = replace(setup, device="cpu")
    if setup.checkpoint is not None:
        return open_contender("torch-eager", on_cpu).label, "the upstream network in torch, FP32, on the CPU"
    return open_contender("ort-graph", on_cpu).label, "the file's own graph in ONNX Runtime, FP32, on the CPU"
