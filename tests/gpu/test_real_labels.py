"""Labels of every network on every engine, host frames in and host labels out."""

from __future__ import annotations

import numpy as np
import pytest

import fcnrt
from frames import frames_of
from network_names import NAMES

from .agreement import assert_agree, case_of, cases_of
from .engines import WITH_KERNELS, Engine
from .prepare import MANY_CLASSES

pytestmark = pytest.mark.gpu
TAILS = ("torchvision fcn", "tramac fcn8s", "caffe fcn32s", "pochih fcns")  # one for each kind


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_labels_of_every_network(name: str, precision: str, any_engine: Engine) -> None:
    cases = cases_of(any_engine.machine.models(name))
    assert len(np.unique(np.concatenate([case.labels.ravel() for case in cases]))) > 1
    with any_engine.open(name, precision) as segment:
        assert segment.device == "cuda:0"
        for case in cases:
            assert_agree(segment(case.frames), case, precision)


@pytest.mark.parametrize("name", TAILS)
def test_confidence_and_scores(name: str, engine: Engine) -> None:
    model = engine.machine.models(name)
    with engine.open(name) as segment, fcnrt.Segmenter(model, device="cpu") as on_cpu:
        for case in cases_of(model):
            confidence, expected = (np.empty(case.labels.shape, np.uint8) for _ in range(2))
            segment(case.frames, confidence=confidence)
            on_cpu(case.frames, confidence=expected)
            assert (np.abs(confidence.astype(int) - expected) <= 1).mean() >= 0.999
            np.testing.assert_allclose(segment.scores(case.frames), on_cpu.scores(case.frames), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_channel_order(color: str, engine: Engine) -> None:
    (case, *_) = cases_of(engine.machine.models("torchvision fcn"))
    with engine.open("torchvision fcn", color=color) as segment:
        assert_agree(segment(case.frames[..., :: 1 if color == "rgb" else -1]), case)


def test_resized_frames_are_labelled_at_their_own_size(engine: Engine) -> None:
    model, frames = engine.machine.models("caffe fcn8s"), frames_of(2, 203, 251)
    with engine.open("caffe fcn8s", input_size=(96, 120)) as segment:
        labels = segment(frames)
    with fcnrt.Segmenter(model, device="cpu", input_size=(96, 120)) as on_cpu:
        assert (labels == on_cpu(frames)).mean() >= 0.98  # Pillow rounds between rows and columns, the kernel once


# TensorRT can give labels of up to 256 classes, so these are for our own tail.
@pytest.mark.parametrize("engine", [*WITH_KERNELS, "onnxruntime with its own tail"], indirect=True)
def test_labels_of_more_than_256_classes(engine: Engine) -> None:
    case = case_of(engine.machine.models(MANY_CLASSES), frames_of(2, 50, 61))
    assert case.labels.min() > 255
    with engine.open(MANY_CLASSES) as segment:
        assert_agree(segment(case.frames), case)


def test_stream_keeps_order(any_engine: Engine) -> None:
    name = "d2l fcn32s"
    cases = [case for case in cases_of(any_engine.machine.models(name)) for _ in range(4)]
    with any_engine.open(name) as segment:
        labels = [labels for _, labels in segment.stream(case.frames for case in cases)]
    for found, case in zip(labels, cases, strict=True):
        assert_agree(found, case)
