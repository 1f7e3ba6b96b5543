"""ops.host against ops.reference: the same labels from the same scores, in every geometry."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fcnrt.contract.tail import Tail
from fcnrt.contract.types import label_dtype
from fcnrt.errors import BackendError, FrameError
from fcnrt.ops import host, reference
from fcnrt.ops.host import LabelUpsampler, argmax_labels, label_confidence

# ops.host computes in float32: a label may differ from float64's only where its logit falls short of the
# winner's by this share of the largest score (eight units in the last place).
ROUNDING = 1e-6


def upsampled_labels(scores, size, tail, network_size=None):
    labels = np.full((len(scores), *size), 255, label_dtype(scores.shape[1]))
    LabelUpsampler(tail, scores.shape, size, network_size)(scores, labels)
    return labels


def assert_labels_are_correct(labels, scores, tail, network_size=None):
    logits = reference.upsample(scores, *labels.shape[1:], tail, network_size)
    chosen = np.take_along_axis(logits, labels[:, None].astype(np.intp), axis=1)[:, 0]
    shortfall = logits.max(axis=1) - chosen
    assert shortfall.max() <= ROUNDING * np.abs(scores).max()
    expected = reference.argmax(logits)
    different = labels != expected
    # Among classes that tie exactly in float64 nothing but the lowest is right, unless rounding came first.
    assert different.mean() <= 1e-3


def noise(rng, shape):
    return rng.normal(size=shape).astype(np.float32)


def smooth(rng, shape):
    """Like a trained network's scores: each class varies slowly, several compete at every boundary."""
    n, classes, height, width = shape
    rows, cols = np.mgrid[:height, :width] / 5.0
    a, b, c, d = rng.normal(size=(4, n, classes, 1, 1))
    return (3 * np.sin(a * rows + b * cols + 9 * c) + d).astype(np.float32)


def label_map(rng, shape):
    """Regions around random centres, one-hot and a little noise: most tiles are uniform."""
    n, classes, height, width = shape
    rows, cols = np.mgrid[:height, :width]
    centre_rows, centre_cols = rng.uniform(0, height, (n, 9, 1, 1)), rng.uniform(0, width, (n, 9, 1, 1))
    nearest = np.argmin((rows - centre_rows) ** 2 + (cols - centre_cols) ** 2, axis=1)  # (N, h, w)
    regions = rng.integers(0, classes, 9)[nearest]
    one_hot = regions[:, None] == np.arange(classes)[:, None, None]
    return (8 * one_hot + noise(rng, shape)).astype(np.float32)


def all_equal(rng, shape):
    return np.full(shape, 1.7, np.float32)


GEOMETRIES = [
    (Tail("half_pixel"), (6, 9), (48, 72)),
    (Tail("half_pixel"), (7, 5), (53, 38)),
    (Tail("half_pixel"), (4, 6), (127, 191)),
    (Tail("half_pixel"), (5, 8), (17, 11)),
    (Tail("half_pixel"), (17, 11), (5, 8)),
    (Tail("half_pixel"), (13, 7), (13, 7)),
    (Tail("half_pixel"), (1, 1), (13, 7)),
    (Tail("half_pixel"), (1, 9), (8, 71)),
    (Tail("half_pixel"), (4, 1), (31, 5)),
    (Tail("half_pixel"), (2, 2), (33, 45)),
    (Tail("half_pixel"), (3, 5), (1, 1)),
    (Tail("align_corners"), (6, 9), (47, 71)),
    (Tail("align_corners"), (4, 5), (101, 133)),
    (Tail("align_corners"), (17, 11), (5, 8)),
    (Tail("align_corners"), (2, 2), (33, 45)),
    (Tail("align_corners"), (5, 1), (1, 13)),
    (Tail("deconv", 8, 31), (16, 14), (97, 85)),
    (Tail("deconv", 8, 31), (10, 11), (1, 9)),
    (Tail("deconv", 16, 27), (8, 9), (85, 101)),
    (Tail("deconv", 32, 19), (4, 5), (113, 131)),
    (Tail("deconv", 32, 16), (3, 4), (96, 128)),
    (Tail("deconv", 2, 0), (9, 7), (20, 16)),
]


@pytest.mark.parametrize("tail, source, target", GEOMETRIES)
@pytest.mark.parametrize("make", [noise, smooth, label_map])
@pytest.mark.parametrize("classes", [2, 11, 21])
def test_labels_equal_the_reference(tail, source, target, make, classes):
    scores = make(np.random.default_rng(classes), (1, classes, *source))
    assert_labels_are_correct(upsampled_labels(scores, target, tail), scores, tail)


@pytest.mark.parametrize("seed", range(40))
def test_labels_equal_the_reference_at_any_size(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.integers(1, 12, 2), rng.integers(1, 90, 2)
    stride = int(rng.integers(1, 34))
    tail = [
        Tail("half_pixel"),
        Tail("align_corners"),
        Tail("deconv", stride, int(rng.integers(0, 2 * stride))),
    ][seed % 3]
    scores = noise(rng, (1, 5, *source))
    assert_labels_are_correct(upsampled_labels(scores, tuple(target), tail), scores, tail)


@pytest.mark.parametrize("make", [noise, smooth, label_map])
@pytest.mark.parametrize("classes", [1, 150, 256, 257, 300])
def test_any_number_of_classes(make, classes):
    scores = make(np.random.default_rng(classes), (1, classes, 5, 7))
    labels = upsampled_labels(scores, (39, 57), Tail("half_pixel"))
    assert labels.dtype == (np.uint8 if classes <= 256 else np.uint16)
    assert_labels_are_correct(labels, scores, Tail("half_pixel"))


@pytest.mark.parametrize("tail", [Tail("half_pixel"), Tail("deconv", 8, 4)])
@pytest.mark.parametrize("levels", [1, 2, 3, 9])
@pytest.mark.parametrize("classes", [2, 3, 11, 300])
def test_ties_go_to_the_lowest_class(tail, levels, classes):
    # Small integers at stride 8 leave float32 nothing to round: ties are exact, and so must the labels be.
    scores = np.random.default_rng(levels).integers(0, levels, (1, classes, 9, 13)).astype(np.float32)
    expected = reference.argmax(reference.upsample(scores, 72, 104, tail))
    np.testing.assert_array_equal(upsampled_labels(scores, (72, 104), tail), expected)


@pytest.mark.parametrize("tail, source, target", GEOMETRIES)
def test_equal_scores_are_the_first_class(tail, source, target):
    scores = all_equal(None, (1, 4, *source))
    assert not upsampled_labels(scores, target, tail).any()


def test_identical_classes_in_a_crowd_go_to_the_lowest():
    scores = np.repeat(noise(np.random.default_rng(3), (1, 7, 9, 13)), 3, axis=1)  # classes 0, 0, 0, 1, 1, 1, ...
    labels = upsampled_labels(scores, (71, 103), Tail("half_pixel"))
    assert set(np.unique(labels)) <= set(range(0, 21, 3))


def test_a_class_that_wins_no_corner_can_win_inside():
    corners = {
        0: (9, -9, -9, -9),
        1: (-9, -9, -9, 9),
        2: (5, 5, 5, 5),
        3: (-9, 9, 9, -9),
        4: (-5, -5, -5, -5),
    }
    scores = np.array([corners[k] for k in range(5)], np.float32).reshape(1, 5, 2, 2)
    labels = upsampled_labels(scores, (31, 33), Tail("align_corners"))
    assert labels[0, 15, 16] == 2
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert_labels_are_correct(labels, scores, Tail("align_corners"))


def test_frames_of_a_batch_are_independent():
    scores = smooth(np.random.default_rng(1), (3, 11, 5, 7))
    labels = upsampled_labels(scores, (37, 51), Tail("half_pixel"))
    for i in range(3):
        np.testing.assert_array_equal(
            labels[i : i + 1], upsampled_labels(scores[i : i + 1], (37, 51), Tail("half_pixel"))
        )
    assert (labels[0] != labels[1]).any()


def test_nothing_of_the_last_call_remains():
    rng = np.random.default_rng(2)
    first, second = noise(rng, (1, 6, 5, 7)), smooth(rng, (1, 6, 5, 7))
    upsampler = LabelUpsampler(Tail("half_pixel"), first.shape, (37, 51))
    labels = np.empty((1, 37, 51), np.uint8)
    for scores in (first, second):
        upsampler(scores, labels)
    np.testing.assert_array_equal(labels, upsampled_labels(second, (37, 51), Tail("half_pixel")))


@pytest.mark.parametrize("chunk", [1, 300, 5000])
def test_labels_do_not_depend_on_the_chunks(monkeypatch, chunk):
    scores = noise(np.random.default_rng(4), (1, 21, 9, 11))
    expected = upsampled_labels(scores, (70, 85), Tail("half_pixel"))
    monkeypatch.setattr(host, "_TILES_CHUNK", chunk)
    monkeypatch.setattr(host, "_ARGMAX_CHUNK", chunk)
    np.testing.assert_array_equal(upsampled_labels(scores, (70, 85), Tail("half_pixel")), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_converted(dtype):
    scores = noise(np.random.default_rng(5), (1, 8, 15, 17)).astype(dtype)
    expected = upsampled_labels(scores.astype(np.float32), (120, 136), Tail("half_pixel"))
    np.testing.assert_array_equal(upsampled_labels(scores, (120, 136), Tail("half_pixel")), expected)


def test_strided_arrays_are_read_and_written_in_place():
    scores = smooth(np.random.default_rng(6), (1, 8, 5, 7))
    scores_nhwc = np.ascontiguousarray(scores.transpose(0, 2, 3, 1))
    canvas = np.full((1, 45, 70), 99, np.uint8)
    LabelUpsampler(Tail("half_pixel"), scores.shape, (40, 56))(scores_nhwc.transpose(0, 3, 1, 2), canvas[:, 2:42, 3:59])
    np.testing.assert_array_equal(canvas[:, 2:42, 3:59], upsampled_labels(scores, (40, 56), Tail("half_pixel")))
    assert (canvas == 99).sum() == 45 * 70 - 40 * 56


@pytest.mark.parametrize("classes", [1, 2, 21, 256, 300])
@pytest.mark.parametrize("levels", [2, 1000])
def test_argmax_labels_equals_the_reference(classes, levels):
    scores = np.random.default_rng(7).integers(0, levels, (3, classes, 17, 11)).astype(np.float32)
    labels = np.full((3, 17, 11), 255, label_dtype(classes))
    argmax_labels(scores, labels)
    np.testing.assert_array_equal(labels, reference.argmax(scores))


def test_argmax_labels_of_a_frame_longer_than_a_chunk_and_cropped():
    scores = noise(np.random.default_rng(8), (1, 3, 130, 1040))[:, :, 3:128, 5:1031]
    labels = np.zeros((1, 127, 1030), np.uint8)
    argmax_labels(scores, labels[:, 1:126, 2:1028])
    np.testing.assert_array_equal(labels[:, 1:126, 2:1028], reference.argmax(scores))


WRONG_LABELS = [
    (
        np.empty((1, 40, 55), np.uint8),
        r"labels: expected uint8 \(1, 40, 56\) for scores \(1, 8, 5, 7\), got uint8 \(1, 40, 55\)",
    ),
    (np.empty((2, 40, 56), np.uint8), r"got uint8 \(2, 40, 56\)"),
    (np.empty((1, 40, 56), np.int64), r"expected uint8 .* got int64"),
]


@pytest.mark.parametrize("labels, expected", WRONG_LABELS)
def test_labels_that_do_not_fit_are_refused(labels, expected):
    with pytest.raises(FrameError, match=expected):
        LabelUpsampler(Tail("half_pixel"), (1, 8, 5, 7), (40, 56))(np.zeros((1, 8, 5, 7), np.float32), labels)


def test_argmax_labels_refuses_labels_that_do_not_fit():
    with pytest.raises(FrameError, match=r"expected uint16 \(1, 5, 7\) .* got uint8 \(1, 5, 7\)"):
        argmax_labels(np.zeros((1, 300, 5, 7), np.float32), np.empty((1, 5, 7), np.uint8))


def test_scores_of_another_shape_are_refused():
    upsampler = LabelUpsampler(Tail("half_pixel"), (1, 8, 5, 7), (40, 56))
    with pytest.raises(FrameError, match=r"scores: expected shape \(1, 8, 5, 7\), got \(1, 8, 5, 8\)"):
        upsampler(np.zeros((1, 8, 5, 8), np.float32), np.empty((1, 40, 56), np.uint8))


def test_full_size_scores_are_refused():
    with pytest.raises(ValueError, match="their argmax"):
        LabelUpsampler(Tail("none"), (1, 8, 5, 7), (5, 7))


# tail, samples, frame, what the network saw of it
RESIZED = [
    (Tail("half_pixel"), (6, 9), (31, 67), (48, 72)),
    (Tail("half_pixel"), (7, 5), (97, 201), (53, 38)),
    (Tail("half_pixel"), (17, 11), (5, 8), (130, 90)),
    (Tail("align_corners"), (6, 9), (31, 67), (48, 72)),
    (Tail("align_corners"), (4, 5), (211, 133), (30, 39)),
    (Tail("align_corners"), (5, 1), (1, 13), (33, 1)),
    (Tail("deconv", 8, 31), (16, 14), (53, 129), (97, 85)),
    (Tail("deconv", 16, 27), (8, 9), (171, 40), (85, 101)),
    (Tail("deconv", 32, 16), (3, 4), (45, 61), (96, 128)),
    (Tail("none"), (13, 18), (40, 55), (13, 18)),
    (Tail("none"), (23, 31), (10, 12), (23, 31)),
    (Tail("none", 0, 3), (20, 25), (37, 61), (13, 18)),
    (Tail("none", 0, 3), (20, 25), (1, 5), (13, 18)),
]


@pytest.mark.parametrize("tail, source, target, seen", RESIZED)
@pytest.mark.parametrize("make", [noise, smooth, label_map])
@pytest.mark.parametrize("classes", [2, 21])
def test_labels_of_resized_frames_equal_the_reference(tail, source, target, seen, make, classes):
    scores = make(np.random.default_rng(classes), (2, classes, *source))
    assert_labels_are_correct(upsampled_labels(scores, target, tail, seen), scores, tail, seen)


@pytest.mark.parametrize("seed", range(40))
def test_labels_of_resized_frames_equal_the_reference_at_any_size(seed):
    rng = np.random.default_rng(seed)
    source, target, seen = rng.integers(1, 12, 2), rng.integers(1, 90, 2), rng.integers(1, 90, 2)
    stride = int(rng.integers(1, 34))
    tail = [
        Tail("half_pixel"),
        Tail("align_corners"),
        Tail("deconv", stride, int(rng.integers(0, 2 * stride))),
        Tail("none", 0, int(rng.integers(0, 5))),
    ][seed % 4]
    if tail.kind == "none":
        source = seen + 2 * tail.offset
    scores = noise(rng, (1, 5, *source))
    assert_labels_are_correct(
        upsampled_labels(scores, tuple(target), tail, tuple(seen)), scores, tail, tuple(int(side) for side in seen)
    )


@pytest.mark.parametrize("tail, source, target", GEOMETRIES)
def test_a_network_that_saw_the_frame_itself_changes_nothing(tail, source, target):
    scores = noise(np.random.default_rng(0), (1, 5, *source))
    np.testing.assert_array_equal(
        upsampled_labels(scores, target, tail, target), upsampled_labels(scores, target, tail)
    )


def confidence_of(scores, size, tail, network_size=None):
    confidence = np.full((len(scores), *size), 99, np.uint8)
    label_confidence(scores, tail, network_size or size, confidence)
    return confidence


def assert_confidence_is_correct(confidence, scores, tail, network_size=None):
    """The definition, rounded; hardly more."""
    logits = reference.upsample(scores, *confidence.shape[1:], tail, network_size)
    assert np.abs(confidence - 255 * reference.softmax(logits).max(axis=1)).max() <= 0.51


@pytest.mark.parametrize("tail, source, target, seen", [*((*geometry, None) for geometry in GEOMETRIES), *RESIZED])
@pytest.mark.parametrize("classes", [2, 21])
def test_confidence_equals_the_reference(tail, source, target, seen, classes):
    scores = 4 * noise(np.random.default_rng(classes), (2, classes, *source))
    assert_confidence_is_correct(confidence_of(scores, target, tail, seen), scores, tail, seen)


@pytest.mark.parametrize("offset", [0, 2])
def test_confidence_of_full_size_scores(offset):
    scores = noise(np.random.default_rng(0), (2, 7, 11, 13))
    size = 11 - 2 * offset, 13 - 2 * offset
    assert_confidence_is_correct(confidence_of(scores, size, Tail("none", 0, offset)), scores, Tail("none", 0, offset))


@pytest.mark.parametrize("classes", [1, 150, 300])
def test_confidence_of_any_number_of_classes(classes):
    scores = 3 * noise(np.random.default_rng(classes), (1, classes, 5, 7))
    confidence = confidence_of(scores, (39, 57), Tail("half_pixel"))
    assert_confidence_is_correct(confidence, scores, Tail("half_pixel"))
    assert classes > 1 or (confidence == 255).all()


def test_confidence_of_large_and_of_equal_scores():
    scores = np.full((1, 4, 2, 2), 3e4, np.float32)
    assert (confidence_of(scores, (9, 9), Tail("half_pixel")) == 64).all()
    scores[:, 2] += 1e4
    assert (confidence_of(scores, (9, 9), Tail("half_pixel")) == 255).all()


@pytest.mark.parametrize("chunk", [1, 300, 5000])
def test_confidence_does_not_depend_on_the_chunks(monkeypatch, chunk):
    scores = noise(np.random.default_rng(4), (2, 21, 9, 11))
    expected = confidence_of(scores, (70, 85), Tail("half_pixel"))
    monkeypatch.setattr(host, "_SOFTMAX_CHUNK", chunk)
    np.testing.assert_array_equal(confidence_of(scores, (70, 85), Tail("half_pixel")), expected)


def test_confidence_is_written_in_place_and_leaves_the_scores_alone():
    scores = smooth(np.random.default_rng(6), (1, 8, 5, 7))
    before, canvas = scores.copy(), np.full((1, 45, 70), 99, np.uint8)
    label_confidence(scores, Tail("half_pixel"), (40, 56), canvas[:, 2:42, 58:2:-1])
    np.testing.assert_array_equal(canvas[:, 2:42, 58:2:-1], confidence_of(scores, (40, 56), Tail("half_pixel")))
    np.testing.assert_array_equal(scores, before)
    canvas[:, 2:42, 3:59] = 99
    assert (canvas == 99).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tail", [Tail("half_pixel"), Tail("none")])
def test_confidence_of_scores_that_are_not_finite_is_refused(bad, tail):
    scores = noise(np.random.default_rng(0), (2, 5, 9, 11))
    scores[1, 3, 4:, 5:] = bad
    with pytest.raises(BackendError, match="scores are not finite"):
        confidence_of(scores, (9, 11) if tail.kind == "none" else (27, 40), tail)


@pytest.mark.parametrize("make", [noise, label_map])
@pytest.mark.parametrize("tail", [Tail("half_pixel"), Tail("align_corners")])
def test_a_call_allocates_a_fraction_of_the_labels(make, tail):
    small, large = (peak_nbytes(make, tail, height, 1280) for height in (480, 1920))
    assert large - small <= 0.25 * (1920 - 480) * 1280
    assert small <= 4 << 20


def peak_nbytes(make, tail, height, width):
    scores = make(np.random.default_rng(9), (1, 21, height // 8, width // 8))
    labels = np.empty((1, height, width), np.uint8)
    upsampler = LabelUpsampler(tail, scores.shape, (height, width))
    upsampler(scores, labels)
    tracemalloc.start()
    upsampler(scores, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.skipif("FCNRT_CAMVID" not in os.environ, reason="FCNRT_CAMVID names no CamVid folder")
@pytest.mark.parametrize("stride", [8, 32])
def test_scores_made_from_real_label_maps(stride):
    from PIL import Image

    rng = np.random.default_rng(10)
    for path in sorted(Path(os.environ["FCNRT_CAMVID"], "valannot").glob("*.png"))[::25]:
        annotation = np.asarray(Image.open(path))  # (360, 480), 11 classes and void
        height, width = (size // stride * stride for size in annotation.shape)
        one_hot = annotation[:height, :width] == np.arange(12)[:, None, None]
        share = one_hot.reshape(12, height // stride, stride, width // stride, stride).mean(axis=(2, 4))
        scores = (8 * share + 0.5 * rng.normal(size=share.shape)).astype(np.float32)[None]
        assert_labels_are_correct(
            upsampled_labels(scores, annotation.shape, Tail("half_pixel")), scores, Tail("half_pixel")
        )


def labels_by_bands(scores, size, tail, rows_at_once):
    """As from scores that come some rows at a time, the last first; parts of the labels end where others begin."""
    labels, below = np.full((len(scores), *size), 255, np.uint8), size[0]
    for first in reversed(range(0, scores.shape[2], rows_at_once)):
        band = slice(first, min(first + rows_at_once, scores.shape[2]))
        upsampler = LabelUpsampler(tail, scores.shape, size, band=band)
        assert upsampler.rows.stop == below
        below = upsampler.rows.start
        upsampler(scores[:, :, first : band.stop + 1], labels[:, upsampler.rows])
    assert below == 0
    return labels


@pytest.mark.parametrize("rows_at_once", [1, 3, 7, 40])
@pytest.mark.parametrize(
    ("tail", "size"),
    [
        (Tail("half_pixel"), (167, 91)),
        (Tail("half_pixel"), (20, 13)),
        (Tail("half_pixel"), (9, 90)),
        (Tail("align_corners"), (161, 83)),
        (Tail("align_corners"), (1, 83)),
        (Tail("deconv", 8, 31), (115, 60)),
        (Tail("deconv", 32, 19), (600, 353)),
    ],
)
def test_bands_have_the_labels_of_the_whole(tail, size, rows_at_once):
    scores = smooth(np.random.default_rng(5), (1, 6, 21, 12))
    expected = upsampled_labels(scores, size, tail)
    np.testing.assert_array_equal(labels_by_bands(scores, size, tail, rows_at_once), expected)
