"""Labels of a region, and with confidence, one by one and in a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.contract.types import void_label
from fcnrt.errors import FrameError, UsageError
from fcnrt.video import Frame, Labelled, Pipeline, open_source
from fcnrt.video.labelling import Labelling
from fcnrt.video.region import Region
from frames import frames_of

SIZE = (61, 83)
REGION = Region(7, 11, 47, 39)  # x, y, width, height


@pytest.fixture(scope="module")
def segmenter(exported: Export) -> Iterator[fcnrt.Segmenter]:
    with fcnrt.Segmenter(exported("torchvision fcn")) as opened:
        yield opened


def frames(count: int = 4) -> list[Frame]:
    pictures = frames_of(count, *SIZE, seed=8)
    return [Frame(pixels, Fraction(number, 25), number, 0.0) for number, pixels in enumerate(pictures)]


def test_a_region_is_labelled_as_if_it_were_the_frame_and_the_rest_is_void(segmenter: fcnrt.Segmenter) -> None:
    (frame,) = frames(1)
    labelled = Labelling(REGION).label(segmenter, frame)
    assert labelled.frame is frame and labelled.confidence is None and labelled.labels.shape == SIZE
    part = labelled.labels[11 : 11 + 39, 7 : 7 + 47]
    assert np.array_equal(part, segmenter(frame.pixels[11 : 11 + 39, 7 : 7 + 47]))
    assert (labelled.labels == 255).sum() == SIZE[0] * SIZE[1] - 39 * 47 and (part < 255).all()


@pytest.mark.parametrize("region", [None, REGION])
def test_confidence_goes_with_the_labels(region: Region | None, segmenter: fcnrt.Segmenter) -> None:
    (frame,) = frames(1)
    labelled = Labelling(region, confidence=True).label(segmenter, frame)
    pixels = frame.pixels if region is None else frame.pixels[11:50, 7:54]
    expected = np.empty(pixels.shape[:2], np.uint8)
    labels = segmenter(pixels, confidence=expected)
    inside = labelled.labels != 255
    assert np.array_equal(labelled.labels[inside], labels.ravel())
    assert np.array_equal(labelled.confidence[inside], expected.ravel())


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("region", [None, REGION])
def test_a_stream_gives_the_same_in_order(region: Region | None, confidence: bool, segmenter: fcnrt.Segmenter) -> None:
    labelling, given = Labelling(region, confidence), frames()
    for made, frame in zip(list(labelling.stream(segmenter, iter(given), 1)), given, strict=True):
        single = labelling.label(segmenter, frame)
        assert made.frame is frame and np.array_equal(made.labels, single.labels)
        assert (made.confidence is not None) is confidence
        assert not confidence or np.array_equal(made.confidence, single.confidence)


def test_a_pipeline_labels_that_way(segmenter: fcnrt.Segmenter) -> None:
    with open_source("test:61x83*3") as source:
        for labelled in Pipeline(source, segmenter, labelling=Labelling(REGION, confidence=True)):
            assert (labelled.labels == 255).any() and labelled.confidence.shape == SIZE


@pytest.mark.parametrize("region", [Region(40, 0, 44, 10), Region(0, 50, 10, 12), Region(0, 0, 84, 61)])
def test_a_region_must_lie_within_the_frame(region: Region, segmenter: fcnrt.Segmenter) -> None:
    message = rf"region: expected one within the frame of 83x61 pixels, got {','.join(map(str, region))} \(X,Y,W,H\)"
    with pytest.raises(FrameError, match=message):
        Labelling(region).label(segmenter, frames(1)[0])


@pytest.mark.parametrize(("classes", "refused"), [(255, False), (256, True), (257, False)])
def test_void_needs_a_label_of_its_own(classes: int, refused: bool) -> None:
    model = SimpleNamespace(classes=("a",) * classes)
    if refused:
        with pytest.raises(FrameError, match="expected a model that leaves a label for void, got one of 256 classes"):
            Labelling(REGION).check(model)
    else:
        Labelling(REGION).check(model)
    Labelling().check(model)


def test_void_is_the_largest_label() -> None:
    assert (void_label(np.uint8), void_label(np.uint16)) == (255, 65535)


def test_frames_on_a_gpu_are_labelled_as_a_whole() -> None:
    source = SimpleNamespace(live=False, color="nv12")
    with pytest.raises(UsageError, match="decode on the CPU"):
        Pipeline(source, SimpleNamespace(in_flight=1), labelling=Labelling(REGION))


def test_a_labelled_frame_is_still_a_pair() -> None:
    (frame,) = frames(1)
    labelled = Labelled(frame, np.zeros(SIZE, np.uint8))
    unpacked, labels = labelled
    assert unpacked is frame and labels is labelled.labels and labelled.confidence is None
