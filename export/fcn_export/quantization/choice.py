"""Which convolutions become int8: all but a trained last upsampling, and but for those that cost labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, helper

from fcnrt.contract.types import Array, UInt8Array

from ..errors import ExportError
from .frames import CalibrationFrames
from .qdq import convolutions, quantised

USUAL = 0.99  # of the held-out frames' labels equal float's; fewer are cautioned against
FLOOR = 0.95  # fewer are refused


@dataclass(frozen=True)
class Quantisation:
    """An int8 model and what it costs.

    Attributes:
        model: with Q/DQ inside.
        layers: convolutions that are int8.
        kept: convolutions of the body that stay float32.
        agreement: share of labels on held-out frames that equal the float model's, 0 to 1.
        pixels: how many were compared.
    """

    model: ModelProto
    layers: tuple[str, ...]
    kept: tuple[str, ...]
    agreement: float
    pixels: int


Batches = Callable[[Sequence[UInt8Array]], Iterator[UInt8Array]]


def quantise(
    model: ModelProto, frames: CalibrationFrames, batches: Batches, keep_float: Sequence[str] = ()
) -> Quantisation:
    """Quantise the body of an exported model, and keep more of it in float until labels hold.

    Args:
        model: the float32 model.
        frames: to calibrate with, and to judge by.
        batches: makes frames what the model takes: its channel order, and its sizes where they are fixed.
        keep_float: names of convolutions, or parts of names, that stay float32.

    Raises:
        ExportError: a name fits no convolution, or too few labels equal the float model's.
    """
    body = quantisable(model)
    kept = _named(keep_float, body)
    made = _attempt(model, frames, batches, body, kept)
    if made.agreement < USUAL and not keep_float:
        made = _with_worst_left_out(model, frames, batches, body, made)
    _check(made, frames)
    _check_brightened(model, made, frames, batches)
    return made


def quantisable(model: ModelProto) -> list[str]:
    """The convolutions of an exported model but for a last upsampling that was trained, which costs labels, not time.

    Score layers are among them: what they read is then rounded, and the convolution before them computed in integers.
    """
    return [name for name in convolutions(model) if name != "last_step"]


def _named(parts: Sequence[str], body: Sequence[str]) -> tuple[str, ...]:
    for part in parts:
        if not any(part in name for name in body):
            raise ExportError(f"--keep-float {part}: expected (part of) one of {', '.join(body)}")
    return tuple(name for name in body if any(part in name for part in parts))


def _attempt(
    model: ModelProto, frames: CalibrationFrames, batches: Batches, body: Sequence[str], kept: Sequence[str]
) -> Quantisation:
    layers = tuple(name for name in body if name not in kept)
    made = quantised(model, batches(frames.calibration), layers)
    equal, pixels = _equal_labels(model, made, batches(frames.held_out))
    return Quantisation(made, layers, tuple(kept), equal / pixels, pixels)


def _with_worst_left_out(
    model: ModelProto, frames: CalibrationFrames, batches: Batches, body: Sequence[str], made: Quantisation
) -> Quantisation:
    """Leave out 1, 2, 4 ... of the convolutions that int8 disturbs most, up to half of them, until labels hold."""
    ranked = _by_noise(model, made, next(batches(frames.held_out)))
    count, best = 1, made
    while best.agreement < USUAL and count <= len(body) // 2:
        found = _attempt(model, frames, batches, body, ranked[:count])
        best = max(best, found, key=lambda each: each.agreement)
        count *= 2
    return best


def _by_noise(model: ModelProto, made: Quantisation, batch: UInt8Array) -> list[str]:
    """Int8 convolutions by the noise that each adds: error to signal of its output, less that of the one before."""
    names = {node.output[0]: name for node, name in _convolution_nodes(model) if name in made.layers}
    exact, rough = (_tensors(graph, [*names], batch) for graph in (model, made.model))
    noise = [
        float(np.square(a - b).mean() / max(np.square(a).mean(), 1e-30)) for a, b in zip(exact, rough, strict=True)
    ]
    added = np.diff(noise, prepend=0.0)
    return [name for _, name in sorted(zip(-added, names.values(), strict=True))]


def _convolution_nodes(model: ModelProto) -> Iterator[tuple[object, str]]:
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    return zip(nodes, convolutions(model), strict=True)


def _equal_labels(exact: ModelProto, rough: ModelProto, batches: Iterator[UInt8Array]) -> tuple[int, int]:
    label, roughly = (_runner(model, ["labels"]) for model in (exact, rough))
    equal = pixels = 0
    for batch in batches:
        same = label(batch)[0] == roughly(batch)[0]
        equal, pixels = equal + int(same.sum()), pixels + same.size
    return equal, pixels


def _tensors(model: ModelProto, names: list[str], batch: UInt8Array) -> list[Array]:
    shown = ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return _runner(shown, names)(batch)


def _runner(model: ModelProto, outputs: list[str]) -> Callable[[UInt8Array], list[Array]]:
    """Runs a model as its Q/DQ pairs say, rounded float: integer kernels saturate on processors without VNNI."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(outputs, {"frames": batch})


def _check(made: Quantisation, frames: CalibrationFrames) -> None:
    if made.agreement < FLOOR:
        raise ExportError(
            f"int8: only {made.agreement:.2%} of the labels on held-out frames of {frames.where} equal float32's, "
            f"expected at least {FLOOR:.0%}; calibrate with more, more typical frames, or use --precision fp16"
        )


def _check_brightened(model: ModelProto, made: Quantisation, frames: CalibrationFrames, batches: Batches) -> None:
    """Ranges measured on dark frames clip in daylight: dark frames are judged at full brightness as well."""
    brightened = frames.brightened()
    if not brightened:
        return
    equal, pixels = _equal_labels(model, made.model, batches(brightened))
    if equal / pixels < FLOOR:
        raise ExportError(
            f"int8: the frames of {frames.where} are dark, and at full brightness only {equal / pixels:.2%} of their "
            f"labels equal float32's, expected at least {FLOOR:.0%}; calibrate with frames as bright as the camera's"
        )
