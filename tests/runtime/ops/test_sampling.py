"""The kernels' tables, against torch and against what their readers rely on."""

import itertools

import numpy as np
import pytest

from fcnrt.contract.tail import Tail
from fcnrt.ops import reference, sampling

torch = pytest.importorskip("torch")

TAILS = [Tail("half_pixel"), Tail("align_corners"), Tail("deconv", 8, 31), Tail("none", 0, 2)]
LENGTHS = [(9, 67, 67), (9, 67, 40), (23, 5, 5), (1, 13, 13), (7, 1, 1), (300, 5472, 2400)]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("samples, pixels, seen", LENGTHS)
def test_linear_samples_lie_on_the_grid_and_add_up(tail, samples, pixels, seen):
    coordinates = reference.source_coordinates(tail, samples, pixels, seen)
    low, frac = sampling.linear_samples(coordinates, samples)
    assert (low.dtype, frac.dtype, low.shape, frac.shape) == (np.int32, np.float32, (pixels,), (pixels,))
    assert low.min() >= 0 and (low + (frac > 0)).max() <= samples - 1
    assert frac.min() >= 0 and frac.max() <= 1
    np.testing.assert_allclose(low + frac.astype(np.float64), np.clip(coordinates, 0, samples - 1), rtol=0, atol=1e-7)


def test_whole_coordinates_have_no_fraction():
    low, frac = sampling.linear_samples(reference.source_coordinates(Tail("none", 0, 2), 9, 5, 5), 9)
    np.testing.assert_array_equal(low, [2, 3, 4, 5, 6])
    np.testing.assert_array_equal(frac, 0)


def test_bands_are_the_runs_cut_to_length():
    low = np.array([0] * 12 + [1] * 8 + [3] + [4] * 9, np.int32)
    np.testing.assert_array_equal(sampling.bands(low, 8), [0, 8, 12, 20, 21, 29, 30])
    np.testing.assert_array_equal(sampling.bands(low, 1), np.arange(31))
    np.testing.assert_array_equal(sampling.bands(low[:1], 8), [0, 1])
    assert sampling.bands(low, 8).dtype == np.int32


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("samples, pixels, seen", LENGTHS)
def test_fractions_rise_along_a_band(tail, samples, pixels, seen):
    """The kernels ask only a band's last row whether any of them needs the lower samples."""
    low, frac = sampling.linear_samples(reference.source_coordinates(tail, samples, pixels, seen), samples)
    edges = sampling.bands(low, 8)
    for first, end in itertools.pairwise(edges):
        assert 1 <= end - first <= 8
        assert (low[first:end] == low[first]).all() and (np.diff(frac[first:end]) >= 0).all()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    "source, target", [(14, 6), (9, 13), (23, 3), (7, 7), (1, 4), (5, 1), (2, 1), (3, 2), (211, 64), (64, 211)]
)
def test_resize_taps_are_torchs_weights(source, target, antialias):
    first, weights = sampling.resize_taps(source, target, antialias)
    assert (first.dtype, weights.dtype, len(first), len(weights)) == (np.int32, np.float32, target, target)
    assert first.min() >= 0 and first.max() + weights.shape[1] <= source
    np.testing.assert_allclose(weights.sum(axis=1, dtype=np.float64), 1, rtol=0, atol=1e-6)
    dense = np.zeros((target, source))
    taps = first[:, None] + np.arange(weights.shape[1])
    np.put_along_axis(dense, taps.astype(np.intp), weights.astype(np.float64), axis=1)
    # Channel c holds a 1 at row c. Two columns: with one, torch 2.14 gives every row the weights of the first.
    impulses = torch.eye(source, dtype=torch.float64)[None, :, :, None].repeat(1, 1, 1, 2)
    expected = torch.nn.functional.interpolate(impulses, size=(target, 2), mode="bilinear", antialias=antialias)
    np.testing.assert_allclose(dense, expected[0, :, :, 0].T.numpy(), rtol=0, atol=1e-6)


def test_taps_are_as_few_as_the_geometry_needs():
    assert sampling.resize_taps(1080, 2160, True)[1].shape == (2160, 2)
    assert sampling.resize_taps(1080, 512, False)[1].shape == (512, 2)
    assert sampling.resize_taps(1080, 512, True)[1].shape == (512, 5)
    assert sampling.resize_taps(7, 7, True)[1].shape == (7, 2)
