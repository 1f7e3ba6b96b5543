"""reference_ops against torch in float64: the definition of correct is itself checked independently."""

import numpy as np
import pytest

from fcnrt import reference_ops
from fcnrt.spec import Tail

torch = pytest.importorskip("torch")

# float64 sums of four products: a few units in the last place of values around 10.
ROUNDING = 1e-12


def random_scores(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape, scale=4.0)


SIZES = [((6, 9), (48, 72)), ((5, 7), (37, 53)), ((17, 11), (5, 8)), ((1, 4), (9, 1)), ((3, 1), (1, 13))]


@pytest.mark.parametrize("kind, align_corners", [("half_pixel", False), ("align_corners", True)])
@pytest.mark.parametrize("source, target", SIZES)
def test_upsample_equals_interpolate(kind, align_corners, source, target):
    scores = random_scores((2, 3, *source))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(scores), size=target, mode="bilinear", align_corners=align_corners
    )
    upsampled = reference_ops.upsample(scores, *target, Tail(kind))
    assert upsampled.dtype == np.float64
    np.testing.assert_allclose(upsampled, expected.numpy(), rtol=0, atol=ROUNDING)


def bilinear_deconvolution(scores, tail, height, width):
    """The real thing: grouped, kernel 2 * stride, cropped at the offset on both axes."""
    stride, channels = tail.stride, scores.shape[1]
    ramp = 1 - np.abs(np.arange(2 * stride) - stride + 0.5) / stride
    kernel = torch.from_numpy(np.broadcast_to(np.outer(ramp, ramp), (channels, 1, 2 * stride, 2 * stride)).copy())
    full = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(scores), kernel, stride=stride, groups=channels
    ).numpy()
    assert full.shape[2] >= tail.offset + height and full.shape[3] >= tail.offset + width
    return full[:, :, tail.offset : tail.offset + height, tail.offset : tail.offset + width]


DECONVOLUTIONS = [
    (Tail("deconv", 2, 1), (9, 7), (18, 14)),
    (Tail("deconv", 2, 0), (9, 7), (19, 16)),
    (Tail("deconv", 8, 31), (16, 13), (97, 71)),
    (Tail("deconv", 16, 27), (8, 9), (85, 101)),
    (Tail("deconv", 32, 19), (4, 5), (113, 131)),
    (Tail("deconv", 32, 16), (3, 4), (81, 127)),
]


@pytest.mark.parametrize("tail, source, target", DECONVOLUTIONS)
def test_deconvolution_has_these_labels_everywhere_and_these_values_inside(tail, source, target):
    scores = random_scores((1, 21, *source))
    expected = bilinear_deconvolution(scores, tail, *target)
    upsampled = reference_ops.upsample(scores, *target, tail)
    np.testing.assert_array_equal(reference_ops.argmax(upsampled), expected.argmax(axis=1))
    rows = is_inside(tail, source[0], target[0])
    cols = is_inside(tail, source[1], target[1])
    assert rows.any() and cols.any()
    np.testing.assert_allclose(upsampled[:, :, rows][..., cols], expected[:, :, rows][..., cols], rtol=0, atol=ROUNDING)


def is_inside(tail, samples, pixels):
    coordinate = reference_ops.source_coordinates(tail, samples, pixels)
    return (coordinate >= 0) & (coordinate <= samples - 1)


def test_upsample_cuts_the_frame_out_of_full_size_scores():
    scores = random_scores((1, 2, 9, 7))
    np.testing.assert_array_equal(reference_ops.upsample(scores, 9, 7, Tail("none")), scores)
    cut = reference_ops.upsample(scores, 5, 3, Tail("none", 0, 2))
    np.testing.assert_array_equal(cut, scores[:, :, 2:7, 2:5])


def test_source_coordinates_of_no_upsampling_are_refused():
    with pytest.raises(ValueError, match="expected half_pixel, align_corners or deconv, got 'none'"):
        reference_ops.source_coordinates(Tail("none"), 5, 5)


def test_argmax_takes_the_lowest_of_equals():
    logits = np.zeros((1, 4, 1, 3))
    logits[0, [1, 3], 0, 1] = 2.0
    logits[0, 3, 0, 2] = 2.0
    np.testing.assert_array_equal(reference_ops.argmax(logits), [[[0, 1, 3]]])


@pytest.mark.parametrize("classes, dtype", [(1, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_labels_are_as_narrow_as_the_classes_allow(classes, dtype):
    logits = np.zeros((1, classes, 3, 2), np.float32)
    logits[:, -1] = 1.0
    labels = reference_ops.argmax(logits)
    assert labels.dtype == dtype
    assert (labels == classes - 1).all()


def test_normalise_scales_then_shifts_then_divides():
    frames = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalised = reference_ops.normalise(frames, scale=1 / 255, mean=mean, std=std)
    expected = torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 255
    expected = (expected - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[:, None, None]
    assert normalised.shape == (2, 3, 3, 5) and normalised.dtype == np.float64
    np.testing.assert_allclose(normalised, expected.numpy(), rtol=0, atol=1e-6)  # torch read its constants as float32


def test_normalise_reverses_colours_before_the_mean():
    frames = np.array([[[[10, 20, 30]]]], np.uint8)
    normalised = reference_ops.normalise(frames, swap_channels=True, mean=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(normalised[0, :, 0, 0], [29.0, 18.0, 7.0])


def test_softmax_equals_torch_and_survives_large_logits():
    logits = random_scores((2, 5, 3, 7)) + 1e4
    expected = torch.softmax(torch.from_numpy(logits), dim=1)
    np.testing.assert_allclose(reference_ops.softmax(logits), expected.numpy(), rtol=0, atol=ROUNDING)
