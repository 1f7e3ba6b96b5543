"""The figures of merit, by cases counted by hand, by torchmetrics, and by what each source's definition says."""

import numpy as np
import pytest
import torch

from fcn_bench import metrics

# Three frames of 3 classes and one that never occurs (3): [predicted, true].
FRAMES = [
    ([0, 0, 1, 1], [0, 0, 1, 255]),  # all right: IoU 1, 1
    ([0, 0, 0, 2], [0, 1, 1, 2]),  # class 0: 1/3, class 1: 0, class 2: 1
    ([2, 2], [255, 255]),  # nothing is annotated
]


def _matrix(labels, truth, classes, **options):
    matrix = metrics.ConfusionMatrix(classes)
    matrix.update(np.array(labels), np.array(truth), **options)
    return matrix


def _scores(frames=FRAMES, classes=4):
    scores = metrics.Scores(classes)
    for labels, truth in frames:
        scores.update(np.array(labels), np.array(truth))
    return scores


def _noise(classes=7, shape=(5, 13, 29), void=0.2):
    rng = np.random.default_rng(6)
    labels, truth = rng.integers(0, classes, (2, *shape), dtype=np.uint8)
    truth[rng.random(shape) < void] = 255
    return labels, truth


def test_figures_of_a_case_counted_by_hand():
    matrix = _matrix([[0, 0, 1], [1, 1, 2]], [[0, 1, 1], [1, 0, 2]], 3)
    np.testing.assert_array_equal(matrix.counts, [[1, 1, 0], [1, 2, 0], [0, 0, 1]])
    np.testing.assert_allclose(matrix.iou(), [1 / 3, 2 / 4, 1], rtol=1e-15)
    np.testing.assert_allclose(matrix.accuracy(), [1 / 2, 2 / 3, 1], rtol=1e-15)
    assert matrix.mean_iou() == pytest.approx((1 / 3 + 1 / 2 + 1) / 3, rel=1e-15)
    assert matrix.pixel_accuracy() == pytest.approx(4 / 6, rel=1e-15)
    assert matrix.mean_accuracy() == pytest.approx((1 / 2 + 2 / 3 + 1) / 3, rel=1e-15)
    assert matrix.frequency_weighted_iou() == pytest.approx((2 / 3 + 3 / 2 + 1) / 6, rel=1e-15)


def test_every_definition_gives_the_case_its_own_figure():
    # Over the data set: class 0 has 3 of 5 pixels, class 1 has 1 of 3, class 2 has 1 of 1, class 3 is absent.
    found = {name: figure(_scores()) for name, figure in metrics.MEAN_IOU.items()}
    assert np.isnan(found.pop("strict"))
    assert found.pop("present") == pytest.approx((3 / 5 + 1 / 3 + 1) / 3, rel=1e-15)
    assert found.pop("all") == pytest.approx((3 / 5 + 1 / 3 + 1) / 4, rel=1e-15)
    # Per image: class 0 has 1 and 1/3, class 1 has 1 and 0, class 2 has 1.
    assert found.pop("image") == pytest.approx(((1 + 1 / 3) / 2 + 1 / 2 + 1) / 3, rel=1e-15)
    assert not found


def test_strict_is_the_plain_mean_where_every_class_occurs_and_nan_elsewhere():
    assert _scores(classes=3).matrix.mean_iou_strict() == _scores(classes=3).matrix.mean_iou()
    assert np.isnan(_scores(classes=4).matrix.mean_iou_strict())


def test_means_over_images_weigh_images_alike_however_large():
    scores = _scores([([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]), ([1, 1], [0, 1])], classes=2)
    np.testing.assert_array_equal(scores.images.iou(), [1 / 2, 1 / 2])
    assert scores.images.pixel_accuracy() == 3 / 4
    assert scores.matrix.pixel_accuracy() == 7 / 8


@pytest.mark.parametrize("classes", [7, 9])  # two of nine are absent
def test_agrees_with_torchmetrics(classes):
    jaccard = pytest.importorskip("torchmetrics.classification").MulticlassJaccardIndex
    labels, truth = _noise()
    matrix = _matrix(labels, truth, classes)
    pair = torch.from_numpy(labels), torch.from_numpy(truth)
    macro = jaccard(classes, ignore_index=255)(*pair)
    assert matrix.mean_iou() == pytest.approx(float(macro), abs=1e-7)
    each = jaccard(classes, average="none", ignore_index=255)(*pair)
    np.testing.assert_allclose(np.nan_to_num(matrix.iou()), each.numpy(), rtol=0, atol=1e-7)
    weighted = jaccard(classes, average="weighted", ignore_index=255)(*pair)
    assert matrix.frequency_weighted_iou() == pytest.approx(float(weighted), abs=1e-7)


def test_agrees_with_wkentaros_formulas_on_noise():
    labels, truth = _noise()
    hist = np.histogram2d(truth[truth < 7], labels[truth < 7], bins=np.arange(8) - 0.5)[0]
    union = hist.sum(1) + hist.sum(0) - np.diag(hist)
    matrix = _matrix(labels, truth, 7)
    assert matrix.mean_accuracy() == pytest.approx((np.diag(hist) / hist.sum(1)).mean(), rel=1e-12)
    weighted = (hist.sum(1) / hist.sum() * np.diag(hist) / union).sum()
    assert matrix.frequency_weighted_iou() == pytest.approx(weighted, rel=1e-12)


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


def test_a_class_that_is_only_predicted_counts_as_zero_and_has_no_accuracy():
    matrix = _matrix([0, 2], [0, 0], 3)
    np.testing.assert_array_equal(matrix.iou(), [1 / 2, np.nan, 0])
    np.testing.assert_array_equal(matrix.accuracy(), [1 / 2, np.nan, np.nan])
    assert matrix.mean_iou() == 1 / 4
    assert matrix.mean_accuracy() == matrix.frequency_weighted_iou() == 1 / 2


@pytest.mark.filterwarnings("error")
def test_nothing_counted_is_nan_without_a_warning():
    scores = _scores([([0, 1], [255, 255])], classes=2)
    assert np.isnan(scores.matrix.iou()).all() and np.isnan(scores.matrix.accuracy()).all()
    assert all(np.isnan(figure(scores)) for figure in metrics.MEAN_IOU.values())
    others = (scores.matrix.mean_accuracy, scores.matrix.frequency_weighted_iou, scores.images.pixel_accuracy)
    assert np.isnan([scores.matrix.pixel_accuracy(), *(figure() for figure in others)]).all()


def test_frames_add_up_over_the_data_set():
    rng = np.random.default_rng(5)
    labels, truth = rng.integers(0, 300, (2, 4, 17, 11), dtype=np.uint16)
    whole, streamed = metrics.ConfusionMatrix(300), metrics.Scores(300)
    whole.update(labels, truth)
    for frame_labels, frame_truth in zip(labels, truth, strict=True):
        streamed.update(frame_labels, frame_truth)
    np.testing.assert_array_equal(streamed.matrix.counts, whole.counts)


def test_agrees_with_a_loop_over_pixels_for_eight_bit_labels():
    labels, truth = _noise(200, (13, 29))
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
