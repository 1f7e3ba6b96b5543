"""Files for programs that take no bytes: planes of floats in, int32 labels or scores out; with others as judges."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import fcnrt
from exports import Export, plain_session
from fcn_export.commands import to_onnx
from fcn_export.engines.source import read_source
from fcn_export.errors import ExportError
from fcn_export.graph.verify import textured_frames
from network_names import MANY_CLASSES
from tiny_networks import NAMES, tiny

PLANES = ("--input", "nchw-float")
NORMALISED = (*PLANES, "--input-range", "normalised")
FIXED = ("--height", "65", "--width", "97")
SIZE = (65, 97)
FEW = ["caffe fcn8s", "tramac fcn16s", "pochih fcns", "d2l fcn32s"]


def planes_of(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2).astype(np.float32))  # (N, 3, H, W)


def normalised(name: str, frames: np.ndarray) -> np.ndarray:
    """As upstream's own loader does it."""
    contract = tiny(name).contracts[0].in_order("rgb")
    mean, std = (np.float32(values).reshape(3, 1, 1) for values in (contract.mean, contract.std))
    return (planes_of(frames) * np.float32(contract.scale) - mean) / std


def labels_of(path: Path, given: np.ndarray) -> np.ndarray:
    (found,) = plain_session(path).run(None, {"frames": given})
    return found.argmax(1) if found.ndim == 4 else found


@pytest.mark.parametrize("name", NAMES)
def test_planes_give_the_labels_of_bytes(name: str, exported: Export) -> None:
    frames = textured_frames(2, 71, 46, seed=3).numpy()
    expected = labels_of(exported(name), frames)
    labels = labels_of(exported(name, *PLANES, "--output-type", "labels-int32"), planes_of(frames))
    assert labels.dtype == np.int32 and np.array_equal(labels, expected)
    scores = exported(name, *NORMALISED, "--output-type", "scores-float")
    assert (labels_of(scores, normalised(name, frames)) == expected).mean() >= 0.999


@pytest.mark.parametrize("flags", [(*PLANES, "--output-type", "labels-int32"), (*NORMALISED, "--precision", "fp16")])
@pytest.mark.parametrize("name", FEW)
def test_the_reference_evaluator_agrees(name: str, flags: tuple[str, ...], exported: Export) -> None:
    frames = textured_frames(1, 33, 46, seed=4).numpy()
    given = normalised(name, frames) if "normalised" in flags else planes_of(frames)
    path = exported(name, *flags)
    onnx.checker.check_model(path, full_check=True)
    (labels,) = ReferenceEvaluator(onnx.load(path)).run(None, {"frames": given})
    assert (labels == labels_of(exported(name), frames)).mean() >= (0.97 if "fp16" in flags else 0.999)


@pytest.mark.parametrize("name", FEW)
def test_opencv_makes_its_own_planes(name: str, exported: Export) -> None:
    frames = textured_frames(1, *SIZE, seed=5).numpy()
    net = cv2.dnn.readNetFromONNX(str(exported(name, *PLANES, *FIXED, "--output-type", "scores-float")))
    bgr = np.ascontiguousarray(frames[0][..., ::-1])
    net.setInput(cv2.dnn.blobFromImage(bgr, swapRB=True))
    logits = net.forward()
    assert logits.shape[2:] == SIZE
    assert (logits.argmax(1) == labels_of(exported(name), frames)).mean() >= 0.999


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("flags", [(*PLANES, "--output-type", "labels-int32"), NORMALISED])
@pytest.mark.parametrize("name", FEW)
def test_fcnrt_runs_them_on_bytes(name: str, flags: tuple[str, ...], engine: str, exported: Export) -> None:
    frames = textured_frames(2, 37, 51, seed=6).numpy()
    with (
        fcnrt.Segmenter(exported(name, *flags), engine=engine) as segment,
        fcnrt.Segmenter(exported(name), engine=engine) as expected,
    ):
        assert (segment(frames) == expected(frames)).mean() >= (0.999 if "normalised" in flags else 1)
    with fcnrt.Segmenter(exported(name, *flags), color="bgr") as segment:
        assert (segment(frames[..., ::-1]) == labels_of(exported(name), frames)).mean() >= 0.999


def test_scores_of_more_than_256_classes(exported: Export) -> None:
    frames = textured_frames(1, 33, 46, seed=7).numpy()
    path = exported(MANY_CLASSES, *PLANES, "--output-type", "scores-float", *FIXED[:2])
    assert [dim.dim_value or dim.dim_param for dim in onnx.load(path).graph.output[0].type.tensor_type.shape.dim] == [
        "batch",
        300,
        65,
        "width",
    ]
    with fcnrt.Segmenter(path) as segment, pytest.raises(fcnrt.FrameError, match="expected height 65"):
        segment(frames)


def test_engines_of_ours_are_built_from_bytes(exported: Export) -> None:
    with pytest.raises(ExportError, match=r"exported for other servers \(nchw-float, labels\), which build engines"):
        read_source(exported("d2l fcn32s", *PLANES), "kernel")


def test_planes_without_their_metadata_are_no_bytes(exported: Export, tmp_path: Path) -> None:
    model = onnx.load(exported("d2l fcn32s", *PLANES))
    kept = [entry for entry in model.metadata_props if entry.key not in ("fcn.interface", "fcn.digest")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(fcnrt.ModelFileError, match=r"expected input frames uint8 .* got frames float32"):
        fcnrt.Segmenter(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--input-range", "normalised"), "--input-range normalised: is of floats; add --input nchw-float"),
        ((*PLANES, "--precision", "int8"), "--precision int8: expected --input nhwc-uint8 and --output-type labels"),
    ],
)
def test_refusals(flags: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_onnx.main([str(tmp_path / "net.pth"), *flags]) == 1
    assert capsys.readouterr().err.startswith(f"to_onnx: {message}")
