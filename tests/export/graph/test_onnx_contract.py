"""Every family, variant and precision keeps the file contract, at sizes and batches that were not traced."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from exports import Export, plain_session
from fcn_export.graph.verify import textured_frames
from tiny_networks import CLASSES, NAMES, tiny

UNTRACED = [(1, 57, 75), (3, 38, 61), (2, 96, 33)]  # batch, height, width
SMALL = [(1, 1, 1), (2, 5, 31)]
# ONNX Runtime and torch sum in another order; a label may differ where the best two logits are this close.
TIE = 1e-3
SCORE_LAYER = re.compile(r"score|classifier\.4|^/classifier/Conv|block\.4|final_conv|last_step")


def upstream_logits(name: str, frames: torch.Tensor, color: str = "rgb") -> torch.Tensor:
    net = tiny(name)
    with torch.inference_mode():
        return net(net.contracts[0].normalise(frames, color))


def margins(logits: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """How much the logits prefer their own best class to the labels, per pixel."""
    chosen = logits.gather(1, torch.from_numpy(labels.astype(np.int64))[:, None]).squeeze(1)
    return logits.amax(1) - chosen


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_the_upstream_networks_at_untraced_sizes(name: str, exported: Export) -> None:
    runner = plain_session(exported(name))
    sizes = UNTRACED + (SMALL if tiny(name).min_size == 1 else [])
    for seed, (batch, height, width) in enumerate(sizes, start=100):
        frames = textured_frames(batch, height, width, seed)
        (labels,) = runner.run(["labels"], {"frames": frames.numpy()})
        logits = upstream_logits(name, frames)
        assert labels.dtype == np.uint8 and labels.shape == (batch, height, width)
        assert margins(logits, labels).max() <= TIE * (logits.amax() - logits.amin())
        assert (labels == logits.argmax(1).numpy()).mean() >= 0.999


@pytest.mark.parametrize("name", NAMES)
def test_fp16_labels_stay_close_to_fp32(name: str, exported: Export) -> None:
    frames = textured_frames(2, 91, 67, seed=3)
    (labels,) = plain_session(exported(name, "--precision", "fp16")).run(["labels"], {"frames": frames.numpy()})
    logits = upstream_logits(name, frames)
    assert margins(logits, labels).max() <= 0.05 * (logits.amax() - logits.amin())
    assert (labels == logits.argmax(1).numpy()).mean() >= 0.98


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_file_keeps_the_contract(name: str, precision: str, exported: Export) -> None:
    model = onnx.load(exported(name, "--precision", precision) if precision == "fp16" else exported(name))
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version <= 9
    frames, labels = model.graph.input[0], model.graph.output[0]
    assert (len(model.graph.input), len(model.graph.output)) == (1, 1)
    assert signature(frames) == ("frames", TensorProto.UINT8, ["batch", "height", "width", 3])
    assert signature(labels) == ("labels", TensorProto.UINT8, ["batch", "height", "width"])
    scores = next(value for value in model.graph.value_info if value.name == "scores")
    assert signature(scores)[1] == TensorProto.FLOAT and signature(scores)[2][1] == CLASSES
    operators = Counter(node.op_type for node in model.graph.node)
    assert not {"BatchNormalization", "Dropout", "Identity", "Constant"} & operators.keys()


@pytest.mark.parametrize("name", NAMES)
def test_fp16_body_is_half_and_score_layers_float(name: str, exported: Export) -> None:
    model = onnx.load(exported(name, "--precision", "fp16"))
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    convs = {node.name: types[node.input[1]] for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")}
    score_layers = {node for node in convs if SCORE_LAYER.search(node)}
    assert score_layers and len(convs) > len(score_layers)
    assert {convs.pop(node) for node in score_layers} == {TensorProto.FLOAT}
    assert set(convs.values()) == {TensorProto.FLOAT16}


def signature(value: onnx.ValueInfoProto) -> tuple[str, int, list[str | int]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]


def test_cast_precedes_transpose(exported: Export) -> None:
    nodes = onnx.load(exported("torchvision fcn")).graph.node
    cast, transpose = (next(node for node in nodes if node.op_type == kind) for kind in ("Cast", "Transpose"))
    assert cast.input[0] == "frames" and transpose.input[0] == cast.output[0]


def test_metadata_says_what_the_file_is(exported: Export) -> None:
    path = exported("pochih fcns", "--color", "bgr", "--palette", "generated")
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    facts = {key[4:]: json.loads(value) for key, value in found.items() if key.startswith("fcn.")}
    assert (facts["format"], facts["family"], facts["variant"]) == (1, "pochih", "fcns")
    assert facts["classes"] == [f"class {index}" for index in range(CLASSES)]
    assert facts["color"] == "bgr" and facts["precision"] == "fp32" and facts["palette"] == "generated"
    assert facts["tail"] == {"kind": "none", "stride": 0, "offset": 0}
    assert facts["mean"] == pytest.approx([103.939 / 255, 116.779 / 255, 123.68 / 255])
    assert facts["scale"] == pytest.approx(1 / 255) and len(facts["checkpoint_sha256"]) == 64
    assert found["Image.BitmapPixelFormat"] == "Bgr8"


@pytest.mark.parametrize("name", ["caffe fcn8s", "torchvision fcn", "pochih fcn8s"])
def test_bgr_file_labels_bgr_frames_alike(name: str, exported: Export) -> None:
    frames = textured_frames(1, 45, 64, seed=9).numpy()
    (rgb,) = plain_session(exported(name)).run(None, {"frames": frames})
    (bgr,) = plain_session(exported(name, "--color", "bgr")).run(None, {"frames": frames[..., ::-1].copy()})
    assert (rgb == bgr).mean() >= 0.999
    (wrong,) = plain_session(exported(name, "--color", "bgr")).run(None, {"frames": frames})
    assert (rgb == wrong).mean() < 0.999


@pytest.mark.parametrize("name", ["tramac fcn16s", "pochih fcns", "d2l fcn32s"])
def test_fixed_dimensions(name: str, exported: Export) -> None:
    path = exported(name, "--batch", "2", "--height", "71", "--width", "46")
    frames = onnx.load(path).graph.input[0]
    assert signature(frames)[2] == [2, 71, 46, 3]
    labels = plain_session(path).run(None, {"frames": np.zeros((2, 71, 46, 3), np.uint8)})[0]
    assert labels.shape == (2, 71, 46)


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("caffe fcn32s", ("deconv", 32, 19)),
        ("caffe fcn16s", ("deconv", 16, 27)),
        ("caffe fcn8s", ("deconv", 8, 31)),
        ("tramac fcn8s", ("align_corners", 0, 0)),
        ("torchvision fcn", ("half_pixel", 0, 0)),
        ("pochih fcns", ("none", 0, 0)),
        ("d2l fcn32s", ("none", 0, 16)),  # random, hence not bilinear: stays in the graph
    ],
)
def test_tail_of_each_family(name: str, tail: tuple[str, int, int], exported: Export) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(exported(name)).metadata_props}
    found = json.loads(metadata["fcn.tail"])
    assert (found["kind"], found["stride"], found["offset"]) == tail
