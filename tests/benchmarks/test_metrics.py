"""The confusion matrix and its figures, by cases counted by hand."""

import numpy as np
import pytest

import metrics


def _matrix(labels, truth, classes, **options):
    matrix = metrics.ConfusionMatrix(classes)
    matrix.update(np.array(labels), np.array(truth), **options)
    return matrix


def test_figures_of_a_case_counted_by_hand():
    matrix = _matrix([[0, 0, 1], [1, 1, 2]], [[0, 1, 1], [1, 0, 2]], 3)
    np.testing.assert_array_equal(matrix.counts, [[1, 1, 0], [1, 2, 0], [0, 0, 1]])
    np.testing.assert_allclose(matrix.iou(), [1 / 3, 2 / 4, 1], rtol=1e-15)
    assert matrix.mean_iou() == pytest.approx((1 / 3 + 1 / 2 + 1) / 3, rel=1e-15)
    assert matrix.pixel_accuracy() == pytest.approx(4 / 6, rel=1e-15)


def test_void_and_truth_out_of_range_are_not_counted_whatever_was_predicted_there():
    truth = np.array([0, 1, 255, 2, -1, 1])
    matrix = _matrix([0, 1, 99, -5, 7, 0], truth, 2)
    np.testing.assert_array_equal(matrix.counts, [[1, 0], [1, 1]])


def test_void_may_be_a_class_index():
    matrix = _matrix([0, 1, 1], [0, 1, 0], 2, void=1)
    np.testing.assert_array_equal(matrix.counts, [[1, 1], [0, 0]])


def test_an_absent_class_is_nan_and_left_out_of_the_mean():
    matrix = _matrix([0, 0, 1], [0, 0, 1], 4)
    np.testing.assert_array_equal(matrix.iou(), [1, 1, np.nan, np.nan])
    assert matrix.mean_iou() == 1


def test_a_class_that_is_only_predicted_counts_as_zero():
    matrix = _matrix([0, 2], [0, 0], 3)
    np.testing.assert_array_equal(matrix.iou(), [1 / 2, np.nan, 0])
    assert matrix.mean_iou() == 1 / 4


@pytest.mark.filterwarnings("error")
def test_nothing_counted_is_nan_without_a_warning():
    matrix = _matrix([0, 1], [255, 255], 2)
    assert np.isnan(matrix.iou()).all() and np.isnan(matrix.mean_iou()) and np.isnan(matrix.pixel_accuracy())


def test_frames_add_up_over_the_data_set():
    rng = np.random.default_rng(5)
    labels, truth = rng.integers(0, 300, (2, 4, 17, 11), dtype=np.uint16)
    whole, streamed = metrics.ConfusionMatrix(300), metrics.ConfusionMatrix(300)
    whole.update(labels, truth)
    for frame_labels, frame_truth in zip(labels, truth, strict=True):
        streamed.update(frame_labels, frame_truth)
    np.testing.assert_array_equal(streamed.counts, whole.counts)
    # The mean over the data set is not the mean of the frames' means.
    halves = [_matrix([0, 0], [0, 0], 2), _matrix([0, 1], [1, 1], 2)]
    both = _matrix([0, 0, 0, 1], [0, 0, 1, 1], 2)
    assert both.mean_iou() == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert np.mean([half.mean_iou() for half in halves]) == pytest.approx((1 + (0 + 1 / 2) / 2) / 2)


def test_agrees_with_a_loop_over_pixels_for_eight_bit_labels():
    rng = np.random.default_rng(6)
    labels, truth = rng.integers(0, 200, (2, 13, 29), dtype=np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    expected = np.zeros((200, 200), int)
    for label, true in zip(labels.ravel(), truth.ravel(), strict=True):
        if true != 255:
            expected[true, label] += 1
    np.testing.assert_array_equal(_matrix(labels, truth, 200).counts, expected)


@pytest.mark.parametrize(
    ("labels", "truth", "expected"),
    [
        ([0, 1], [0, 1, 1], r"labels: expected shape \(3,\) of the truth, got \(2,\)"),
        ([0, 2], [0, 1], r"labels: expected 0\.\.1, got 0\.\.2"),
        ([-1, 0], [0, 1], r"labels: expected 0\.\.1, got -1\.\.0"),
    ],
)
def test_refuses(labels, truth, expected):
    with pytest.raises(ValueError, match=expected):
        _matrix(labels, truth, 2)


def test_refuses_no_classes():
    with pytest.raises(ValueError, match="classes: expected at least 1, got 0"):
        metrics.ConfusionMatrix(0)
