"""The GPU kernels, run by Triton's interpreter on the CPU, against the reference.

Scores and results lie between guards: a read outside the scores is NaN, a write outside the result is seen.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch

from fcn_export.kernels import compiling
from fcnrt.contract.tail import Tail
from fcnrt.ops import reference, sampling
from simulated.triton_kernels import interpreted_kernels

TIE = 1e-3  # logits closer than this may change places in float32
GUARD = 300  # elements on either side, more than a row of anything here
VARIANTS = {(variant.kernel, variant.name): variant for variant in compiling._variants(None, None)}
HALF, CORNERS, FULL = Tail("half_pixel"), Tail("align_corners"), Tail("none")


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    return interpreted_kernels()


def guarded(values, filler):
    """The whole buffer, and the values as a contiguous part of it."""
    flat = np.full(values.size + 2 * GUARD, filler, values.dtype)
    flat[GUARD:-GUARD] = values.ravel()
    whole = torch.from_numpy(flat)
    return whole, whole[GUARD:-GUARD]


def unguarded(whole, shape, filler):
    """The values as numpy, after a look at the guards."""
    flat = whole.numpy()
    assert (flat[:GUARD] == filler).all() and (flat[-GUARD:] == filler).all()
    return flat[GUARD:-GUARD].reshape(shape)


def launch(kernels, name, variant, grid, *arguments):
    known = VARIANTS[name, variant]
    assert len(arguments) == len(known.parameters)
    grid = (math.ceil(grid[0] / known.tile[1]), *grid[1:])
    getattr(kernels, name)[grid](*arguments, **known.constants)


def label(kernels, scores, size, tail, *, rows=8, labels=None, confident=False, network=None, flag=0, bands=None):
    """Labels, confidence and the flag, as the kernel leaves them."""
    batch, classes, *samples = scores.shape
    labels = labels or ("u8" if classes <= 256 else "u16")
    seen = network or size
    axes = [
        sampling.linear_samples(reference.source_coordinates(tail, *sides), sides[0])
        for sides in zip(samples, size, seen, strict=True)
    ]
    tables = [torch.from_numpy(table) for axis in axes for table in axis]
    starts = torch.from_numpy(sampling.bands(axes[0][0], rows)[:bands])
    target, target_part = guarded(np.full((batch, *size), 99, {"u8": np.uint8, "u16": np.uint16}[labels]), 77)
    sure, sure_part = guarded(np.full((batch, *size), 99, np.uint8), 77)
    nonfinite = torch.tensor([flag], dtype=torch.int32)
    variant = f"{'fp16' if scores.dtype == np.float16 else 'fp32'}-{labels}-rows{rows}" + "-confidence" * confident
    arguments = (guarded(scores, np.nan)[1], target_part, sure_part, *tables, starts, nonfinite)
    launch(kernels, "upsample_argmax", variant, (size[1], len(starts) - 1, batch), *arguments, classes, *samples, *size)
    shape = (batch, *size)
    return unguarded(target, shape, 77), unguarded(sure, shape, 77), int(nonfinite)


def noise(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape, scale=4.0).astype(dtype)


def assert_labels(labels, logits):
    """Equal to the reference; elsewhere, only a logit as good as the best within float32's rounding."""
    expected = reference.argmax(logits)
    differs = labels != expected
    chosen = np.take_along_axis(logits, labels[:, None].astype(np.intp), axis=1)[:, 0]
    assert (logits.max(axis=1) - chosen)[differs].max(initial=0) <= TIE
    assert differs.mean() <= 0.001, f"{differs.sum()} of {differs.size} labels differ"


UPSAMPLINGS = [
    (HALF, (3, 7), (23, 71), None),
    (CORNERS, (3, 7), (21, 53), None),
    (Tail("deconv", 32, 19), (3, 4), (47, 75), None),
    (Tail("deconv", 16, 27), (5, 6), (23, 61), None),
    (Tail("deconv", 8, 31), (9, 10), (19, 43), None),
    (Tail("deconv", 32, 16), (2, 3), (19, 65), None),
    (FULL, (9, 131), (9, 131), None),
    (Tail("none", 0, 2), (9, 14), (5, 11), None),
    (HALF, (1, 1), (9, 13), None),
    (HALF, (1, 6), (11, 29), None),
    (CORNERS, (6, 1), (1, 1), None),
    (HALF, (17, 23), (5, 8), None),
    (CORNERS, (17, 23), (5, 8), None),
    (HALF, (3, 9), (17, 67), (24, 72)),
    (CORNERS, (3, 9), (17, 67), (24, 72)),
    (Tail("deconv", 8, 31), (9, 14), (23, 29), (13, 51)),
    (Tail("none", 0, 2), (9, 18), (13, 33), (5, 14)),
    (FULL, (9, 14), (4, 5), (9, 14)),
]


@pytest.mark.parametrize("rows", [8, 1])
@pytest.mark.parametrize("tail, samples, size, network", UPSAMPLINGS)
def test_labels_of_every_geometry(kernels, tail, samples, size, network, rows):
    scores = noise((2, 4, *samples))
    labels, _, flag = label(kernels, scores, size, tail, rows=rows, network=network)
    assert_labels(labels, reference.upsample(scores, *size, tail, network))
    assert flag == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("classes", [2, 3, 21, 256, 257, 300])
def test_labels_of_few_and_many_classes(kernels, classes, dtype):
    scores = noise((1, classes, 3, 4), dtype)
    scores[:, -1, :2] += 20  # the last class wins somewhere: its index must fit
    labels, _, flag = label(kernels, scores, (11, 25), HALF)
    assert_labels(labels, reference.upsample(scores, 11, 25, HALF))
    assert labels.max() == classes - 1 and flag == 0


@pytest.mark.parametrize("rows", [8, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("labels", ["u8", "u16"])
def test_every_variant_computes_confidence_and_the_same_labels(kernels, labels, dtype, rows):
    scores = noise((2, 4, 3, 5), dtype)
    plain, untouched, _ = label(kernels, scores, (11, 27), HALF, rows=rows, labels=labels)
    confident, sure, flag = label(kernels, scores, (11, 27), HALF, rows=rows, labels=labels, confident=True)
    expected = 255 * reference.softmax(reference.upsample(scores, 11, 27, HALF)).max(axis=1)
    np.testing.assert_array_equal(plain, confident)
    assert np.abs(sure - expected).max() <= 0.51  # rounded, and hardly more
    assert (untouched == 99).all() and flag == 0


def test_confidence_of_large_and_of_equal_scores(kernels):
    scores = np.full((1, 4, 2, 2), 3e4, np.float32)
    assert (label(kernels, scores, (9, 9), HALF, confident=True)[1] == 64).all()
    scores[:, 2] += 1e4
    assert (label(kernels, scores, (9, 9), HALF, confident=True)[1] == 255).all()


@pytest.mark.parametrize("rows", [8, 1])
def test_ties_go_to_the_lowest_index(kernels, rows):
    scores = noise((1, 3, 4, 5))
    scores = np.concatenate((scores, scores[:, ::-1]), axis=1)  # classes 3, 4, 5 are 2, 1, 0 again
    labels, _, _ = label(kernels, scores, (13, 33), HALF, rows=rows)
    assert labels.max() == 2
    assert (label(kernels, np.zeros_like(scores), (13, 33), CORNERS, rows=rows)[0] == 0).all()


@pytest.mark.parametrize("rows", [8, 1])
def test_full_size_scores_are_compared_as_they_are(kernels, rows):
    """No interpolation may touch them: neighbours here differ by 2^24, classes by the last bit."""
    scores = np.broadcast_to(np.float32(2.0**24) * np.arange(7, dtype=np.float32), (1, 2, 5, 7)).copy()
    scores[:, 1] = np.nextafter(scores[:, 0], np.float32(np.inf))
    for tail in (FULL, HALF, CORNERS):
        assert (label(kernels, scores, (5, 7), tail, rows=rows)[0] == 1).all()


@pytest.mark.parametrize("rows", [8, 1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0, 0, 0), (1, 2, 2, 3), (1, 4, 3, 5)])
def test_scores_that_are_not_finite_raise_the_flag(kernels, where, bad, rows):
    scores = noise((2, 5, 4, 6))
    scores[where] = bad
    with np.errstate(invalid="ignore"):
        assert label(kernels, scores, (9, 13), HALF, rows=rows)[2] == 1


@pytest.mark.parametrize("rows", [8, 1])
def test_scores_outside_the_frame_do_not_count(kernels, rows):
    scores = np.full((1, 3, 9, 10), np.nan, np.float32)
    scores[:, :, 2:7, 2:8] = noise((1, 3, 5, 6))
    labels, _, flag = label(kernels, scores, (5, 6), Tail("none", 0, 2), rows=rows)
    np.testing.assert_array_equal(labels, scores[:, :, 2:7, 2:8].argmax(axis=1))
    assert flag == 0


def test_flag_is_never_lowered(kernels):
    assert label(kernels, noise((1, 2, 3, 3)), (9, 9), HALF, flag=1)[2] == 1


def test_a_program_writes_its_own_band_only(kernels):
    """Bands run at once on a GPU: a row written by two would be a race."""
    whole = label(kernels, noise((1, 3, 2, 3)), (20, 31), HALF)[0]
    part = label(kernels, noise((1, 3, 2, 3)), (20, 31), HALF, bands=2)[0]  # the first band's start and end
    np.testing.assert_array_equal(part[:, :8], whole[:, :8])
    assert (part[:, 8:] == 99).all()
    corners = label(kernels, noise((1, 3, 5, 3)), (20, 31), CORNERS, bands=2)[0]
    assert (corners[:, :5] < 3).all() and (corners[:, 5:] == 99).all()


def resize(kernels, frames, size, antialias, *, swap=0, padding=0, shift=0):
    batch, height, width, _ = frames.shape
    rows = np.full((batch, height + 1, width * 3 + padding), 255, np.uint8)  # a row between frames, bytes between rows
    rows[:, :height, : width * 3] = frames.reshape(batch, height, -1)
    taps = [sampling.resize_taps(*sides, antialias) for sides in zip((height, width), size, strict=True)]
    tables = [torch.from_numpy(table) for first, weights in taps for table in (first + np.int32(shift), weights)]
    target, part = guarded(np.full((batch, *size, 3), 99, np.uint8), 77)
    counts = [weights.shape[1] for _, weights in taps]
    numbers = (*counts, height, width, rows.strides[1], rows.strides[0], *size, swap)
    launch(kernels, "resize", "u8", (size[1], size[0], batch), torch.from_numpy(rows), part, *tables, *numbers)
    return unguarded(target, (batch, *size, 3), 77)


def assert_bytes(pixels, expected):
    """Equal but for float32: with weights such as 1/26, some sums are halves, which round either way."""
    assert np.abs(pixels.astype(int) - expected).max() <= 1
    assert (pixels != expected).mean() <= 0.01


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    "source, size", [((9, 14), (5, 6)), ((9, 14), (13, 17)), ((23, 5), (3, 263)), ((1, 1), (4, 3)), ((7, 31), (1, 1))]
)
def test_resize(kernels, source, size, antialias):
    frames = np.random.default_rng(1).integers(0, 256, (2, *source, 3), np.uint8)
    resized = resize(kernels, frames, size, antialias, padding=5)
    assert_bytes(resized, reference.resize(frames, size, antialias))


def test_resize_to_the_same_size_copies_and_swap_reverses_the_channels(kernels):
    frames = np.random.default_rng(2).integers(0, 256, (2, 7, 11, 3), np.uint8)
    np.testing.assert_array_equal(resize(kernels, frames, (7, 11), True, padding=1), frames)
    np.testing.assert_array_equal(resize(kernels, frames, (7, 11), False, swap=1), frames[..., ::-1])


def test_resize_takes_the_border_for_what_lies_beyond(kernels):
    frames = np.random.default_rng(2).integers(0, 256, (1, 7, 11, 3), np.uint8)
    shifted = np.pad(frames[:, 2:, 2:], ((0, 0), (0, 2), (0, 2), (0, 0)), mode="edge")
    np.testing.assert_array_equal(resize(kernels, frames, (7, 11), False, padding=3, shift=2), shifted)


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1), (3, 259)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [True, False])
def test_nv12(kernels, matrix, full_range, size):
    height, width = size
    luma = np.random.default_rng(3).integers(0, 256, (height, width + 9), np.uint8)
    chroma = np.random.default_rng(4).integers(0, 256, (-(-height // 2), -(-width // 2) * 2 + 6), np.uint8)
    pairs = chroma[:, :-6].reshape(len(chroma), -1, 2)
    expected = reference.nv12_to_rgb(luma[:, :width], pairs, matrix, full_range)
    for swap in (0, 1):
        target, part = guarded(np.full((height, width, 3), 99, np.uint8), 77)
        planes = torch.from_numpy(luma), torch.from_numpy(chroma), part
        factors = reference.nv12_coefficients(matrix, full_range)
        numbers = (luma.strides[0], chroma.strides[0], height, width, *factors, swap)
        launch(kernels, "nv12_to_rgb", "u8", (width, height, 1), *planes, *numbers)
        pixels = unguarded(target, (height, width, 3), 77)[..., :: 1 - 2 * swap]
        assert_bytes(pixels, expected)
