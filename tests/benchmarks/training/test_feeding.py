"""Augmentation keeps frame and labels together; batches repeat by seed, whoever makes them."""

import itertools

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from fcn_bench.data.datasets import Sample
from fcn_bench.training.feeding import AROUND, Augmentation, epoch_batches, prefetched

COLOURS = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)


def coloured(labels_hw):
    """A frame whose colours tell its labels."""
    return COLOURS[labels_hw]


def blocks(seed=0, size=(45, 63), classes=5):
    picture = np.random.default_rng(seed).integers(0, classes, (10, 10), dtype=np.uint8)
    return np.kron(picture, np.ones((9, 9), np.uint8))[: size[0], : size[1]]


class Streets:
    """A data set of five small frames of different sizes."""

    name, classes, palette = "streets", tuple("abcde"), "voc"

    def __len__(self):
        return 5

    def __getitem__(self, index):
        labels = blocks(index, (45 + index, 63 - index))
        return Sample(coloured(labels), labels, str(index))


def varied(augmentation, seed, labels=None):
    labels = blocks() if labels is None else labels
    return augmentation(coloured(labels), labels, np.random.default_rng(seed))


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.7, 2.0])
def test_labels_stay_where_their_colours_are(scale):
    frame, labels = varied(Augmentation((37, 51), (scale, scale)), seed=3)
    assert frame.shape == (37, 51, 3) and labels.shape == (37, 51)
    assert frame.dtype == labels.dtype == np.uint8 and frame.flags.c_contiguous and labels.flags.c_contiguous
    kernel = np.ones((3, 3), np.uint8)
    within = (cv2.erode(labels, kernel) == cv2.dilate(labels, kernel)) & (labels != 255)
    assert within.sum() > 0.2 * (labels != 255).sum()  # beside the edges of blocks, where colours blend
    np.testing.assert_array_equal(frame[within], COLOURS[labels[within]])


def test_blending_is_symmetric_about_the_edges():
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 20:] = 1
    frame = np.where(labels[..., None], np.uint8(200), np.uint8(0)) + np.zeros(3, np.uint8)
    frame, labels = Augmentation((80, 80), (2, 2))(frame, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(labels, frame[..., 0] > 100)


def test_scale_one_without_room_is_the_frame_itself_or_its_mirror():
    labels = blocks()
    found = {varied(Augmentation(labels.shape, (1, 1)), seed)[1].tobytes() for seed in range(12)}
    assert found == {labels.tobytes(), labels[:, ::-1].tobytes()}


def test_beyond_the_frame_is_void_of_the_mean_colour():
    labels = blocks(size=(20, 30))
    frame, cut = varied(Augmentation((33, 47), (1, 1)), seed=1, labels=labels)
    assert (cut != 255).sum() == 20 * 30  # all of it is somewhere inside
    assert (frame[cut == 255] == AROUND).all()


def test_scales_and_places_vary():
    seen = [varied(Augmentation((16, 16), (0.5, 2)), seed)[1].tobytes() for seed in range(8)]
    assert len(set(seen)) == 8


def all_batches(workers=1, seed=1, epoch=0):
    return list(epoch_batches(Streets(), Augmentation((16, 24)), 2, seed, epoch, workers))


def test_epoch_has_each_sample_once_and_leaves_the_rest():
    class Named(Streets):
        def __getitem__(self, index):
            labels = np.full((16, 24), index, np.uint8)
            return Sample(coloured(labels), labels, str(index))

    batches = list(epoch_batches(Named(), Augmentation((16, 24), (1, 1)), 2, seed=0, epoch=0))
    assert [frames.shape for frames, _ in batches] == [(2, 16, 24, 3)] * 2
    names = [int(labels[0, 0]) for _, pair in batches for labels in pair]
    assert len(set(names)) == 4


def test_batches_repeat_by_seed_whatever_the_number_of_threads():
    for one, other in zip(all_batches(workers=1), all_batches(workers=3), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 1}])
def test_seeds_and_epochs_differ(other):
    assert not np.array_equal(all_batches()[0][0], all_batches(**other)[0][0])


def test_prefetching_keeps_order_and_drops_nothing():
    jobs = [lambda value=value: value for value in range(11)]
    assert list(prefetched(jobs, workers=2)) == list(range(11))


def test_endless_jobs_are_made_as_they_are_needed_and_stop_with_their_reader():
    made = []

    def job(value):
        made.append(value)
        return value

    stream = prefetched(lambda value=value: job(value) for value in itertools.count())
    assert [next(stream) for _ in range(4)] == [0, 1, 2, 3]
    stream.close()
    assert len(made) <= 8


def test_errors_in_threads_reach_the_reader():
    def fail():
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        list(prefetched([fail]))
