"""Who takes scores (1, C, h, w) float32 to labels (1, H, W) uint8: ours, ONNX Runtime, torch, numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fcnrt.contract.types import Array
from fcnrt.ops.host import LabelUpsampler, argmax_labels
from fcnrt.ops.reference import source_coordinates

from .tail_scores import CLASSES, Case

if TYPE_CHECKING:
    import torch

Contender = Callable[[Array], Array]

OURS, RIVALS = "fcnrt", ("onnxruntime", "torch")


def enter_contenders(case: Case, threads: int) -> tuple[dict[str, Contender], dict[str, str]]:
    """Make all contenders that can run here, and say why the others cannot."""
    makers = {OURS: make_ours, "onnxruntime": make_onnxruntime, "torch": make_torch, "numpy": make_textbook}
    contenders, absent = {}, {}
    for name, make in makers.items():
        try:
            contenders[name] = make(case, threads)
        except ImportError as error:
            absent[name] = str(error)
    return contenders, absent


def make_ours(case: Case, _threads: int) -> Contender:
    size = (case.height, case.width)
    shape = (1, CLASSES, *case.scores_size)
    write_labels = argmax_labels if case.kind == "none" else LabelUpsampler(case.tail, shape, size)

    def run(scores: Array) -> Array:
        labels = np.empty((1, *size), np.uint8)
        write_labels(scores, labels)
        return labels

    return run


def make_onnxruntime(case: Case, threads: int) -> Contender:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(resize_argmax_model(case), options, providers=["CPUExecutionProvider"])
    return lambda scores: session.run(None, {"scores": scores})[0]


def resize_argmax_model(case: Case) -> bytes:
    """Build Resize, crop, ArgMax and Cast as a graph of their own, as an exported file ends."""
    from onnx import TensorProto, checker, helper, numpy_helper

    size = (1, CLASSES, case.height, case.width)
    constants: dict[str, Array] = {}
    nodes = []
    if case.kind in ("half_pixel", "align_corners"):
        constants["sizes"] = np.array(size)
        nodes.append(resize("logits", case.kind, ["scores", "", "", "sizes"]))
    elif case.kind == "deconv":
        # A deconvolution is a half-pixel enlargement that starts half a stride before its crop.
        top = case.offset - case.stride // 2
        constants["scales"] = np.array([1, 1, case.stride, case.stride], np.float32)
        constants["begin"], constants["axes"] = np.array([top, top]), np.array([2, 3])
        constants["end"] = np.array([top + case.height, top + case.width])
        nodes.append(resize("uncropped", "half_pixel", ["scores", "", "scales"]))
        nodes.append(helper.make_node("Slice", ["uncropped", "begin", "end", "axes"], ["logits"]))
    logits = nodes[-1].output[0] if nodes else "scores"
    nodes.append(helper.make_node("ArgMax", [logits], ["winners"], axis=1, keepdims=0))
    nodes.append(helper.make_node("Cast", ["winners"], ["labels"], to=TensorProto.UINT8))
    graph = helper.make_graph(
        nodes,
        "tail",
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, CLASSES, *case.scores_size))],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, (1, case.height, case.width))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def resize(output: str, transformation: str, inputs: list[str]) -> Any:
    from onnx import helper

    return helper.make_node("Resize", inputs, [output], mode="linear", coordinate_transformation_mode=transformation)


def make_torch(case: Case, threads: int) -> Contender:
    import torch
    from torch.nn.functional import interpolate

    torch.set_num_threads(threads)
    top = case.offset - case.stride // 2

    def logits_of(scores: torch.Tensor) -> torch.Tensor:
        if case.kind == "none":
            return scores
        if case.kind == "deconv":
            logits = interpolate(scores, scale_factor=case.stride, mode="bilinear")
            return logits[:, :, top : top + case.height, top : top + case.width]
        aligned = case.kind == "align_corners"
        return interpolate(scores, (case.height, case.width), mode="bilinear", align_corners=aligned)

    @torch.inference_mode()
    def run(scores: Array) -> Array:
        return logits_of(torch.from_numpy(scores)).max(dim=1)[1].to(torch.uint8).numpy()

    return run


def make_textbook(case: Case, _threads: int) -> Contender:
    """Full-size float32 logits by two passes of linear interpolation, then np.argmax."""

    def stretch(scores: Array, pixels: int, axis: int) -> Array:
        last = scores.shape[axis] - 1
        inside = np.clip(source_coordinates(case.tail, last + 1, pixels), 0, last)
        low = inside.astype(np.intp)
        weight = (inside - low).astype(np.float32).reshape((-1, 1) if axis == 2 else (-1,))
        high = np.minimum(low + 1, last)
        return scores.take(low, axis) * (1 - weight) + scores.take(high, axis) * weight

    def run(scores: Array) -> Array:
        logits = scores
        if case.kind != "none":
            logits = stretch(stretch(scores, case.height, 2), case.width, 3)
        return np.argmax(logits, axis=1).astype(np.uint8)

    return run
