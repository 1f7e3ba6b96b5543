"""ops.reference against torch in float64: the definition of correct is itself checked independently."""

import numpy as np
import pytest

from fcnrt.contract.tail import Tail
from fcnrt.errors import FrameError
from fcnrt.ops import reference

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
    upsampled = reference.upsample(scores, *target, Tail(kind))
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
    upsampled = reference.upsample(scores, *target, tail)
    np.testing.assert_array_equal(reference.argmax(upsampled), expected.argmax(axis=1))
    rows = is_inside(tail, source[0], target[0])
    cols = is_inside(tail, source[1], target[1])
    assert rows.any() and cols.any()
    np.testing.assert_allclose(upsampled[:, :, rows][..., cols], expected[:, :, rows][..., cols], rtol=0, atol=ROUNDING)


def is_inside(tail, samples, pixels):
    coordinate = reference.source_coordinates(tail, samples, pixels)
    return (coordinate >= 0) & (coordinate <= samples - 1)


def test_upsample_cuts_the_frame_out_of_full_size_scores():
    scores = random_scores((1, 2, 9, 7))
    np.testing.assert_array_equal(reference.upsample(scores, 9, 7, Tail("none")), scores)
    cut = reference.upsample(scores, 5, 3, Tail("none", 0, 2))
    np.testing.assert_array_equal(cut, scores[:, :, 2:7, 2:5])


def test_source_coordinates_of_no_upsampling_are_refused():
    with pytest.raises(ValueError, match="expected half_pixel, align_corners or deconv, got 'none'"):
        reference.source_coordinates(Tail("none"), 5, 5)


@pytest.mark.parametrize("kind, align_corners", [("half_pixel", False), ("align_corners", True)])
def test_upsample_of_a_resized_frame_samples_the_networks_logits(kind, align_corners):
    """Where the frame's pixels fall on the network's, both see the same; every third of 3 times as many does."""
    scores = random_scores((1, 2, 5, 7))
    tail, seen = Tail(kind), (20, 31)
    resized = reference.upsample(scores, 60, 93, tail, seen)
    np.testing.assert_allclose(
        resized[:, :, 1::3, 1::3], reference.upsample(scores, *seen, tail), rtol=0, atol=ROUNDING
    )
    np.testing.assert_array_equal(
        reference.upsample(scores, *seen, tail, seen), reference.upsample(scores, *seen, tail)
    )


def test_half_pixel_forgets_the_networks_size():
    direct = reference.source_coordinates(Tail("half_pixel"), 9, 67)
    np.testing.assert_allclose(
        reference.source_coordinates(Tail("half_pixel"), 9, 67, 40), direct, rtol=0, atol=ROUNDING
    )


def test_full_size_scores_of_a_resized_frame_are_interpolated():
    scores = random_scores((1, 2, 9, 11))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(scores[:, :, 2:7, 2:9]), size=(5, 23), mode="bilinear", align_corners=False
    )
    inside = slice(2, -2)  # beyond the frame's edge lie scores of its padding, not the border's again
    found = reference.upsample(scores, 5, 23, Tail("none", 0, 2), (5, 7))
    np.testing.assert_allclose(found[..., inside], expected[..., inside].numpy(), rtol=0, atol=ROUNDING)


def test_deconvolution_of_a_resized_frame_keeps_its_offset_in_network_pixels():
    tail = Tail("deconv", 8, 31)
    coordinates = reference.source_coordinates(tail, 12, 60, 20)
    np.testing.assert_allclose(coordinates[1::3], reference.source_coordinates(tail, 12, 20), rtol=0, atol=ROUNDING)


def test_argmax_takes_the_lowest_of_equals():
    logits = np.zeros((1, 4, 1, 3))
    logits[0, [1, 3], 0, 1] = 2.0
    logits[0, 3, 0, 2] = 2.0
    np.testing.assert_array_equal(reference.argmax(logits), [[[0, 1, 3]]])


@pytest.mark.parametrize("classes, dtype", [(1, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_labels_are_as_narrow_as_the_classes_allow(classes, dtype):
    logits = np.zeros((1, classes, 3, 2), np.float32)
    logits[:, -1] = 1.0
    labels = reference.argmax(logits)
    assert labels.dtype == dtype
    assert (labels == classes - 1).all()


def test_normalise_scales_then_shifts_then_divides():
    frames = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalised = reference.normalise(frames, scale=1 / 255, mean=mean, std=std)
    expected = torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 255
    expected = (expected - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[:, None, None]
    assert normalised.shape == (2, 3, 3, 5) and normalised.dtype == np.float64
    np.testing.assert_allclose(normalised, expected.numpy(), rtol=0, atol=1e-6)  # torch read its constants as float32


def test_normalise_reverses_colours_before_the_mean():
    frames = np.array([[[[10, 20, 30]]]], np.uint8)
    normalised = reference.normalise(frames, swap_channels=True, mean=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(normalised[0, :, 0, 0], [29.0, 18.0, 7.0])


def test_softmax_equals_torch_and_survives_large_logits():
    logits = random_scores((2, 5, 3, 7)) + 1e4
    expected = torch.softmax(torch.from_numpy(logits), dim=1)
    np.testing.assert_allclose(reference.softmax(logits), expected.numpy(), rtol=0, atol=ROUNDING)


def random_frames(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


RESIZES = [((9, 14), (5, 6)), ((9, 14), (13, 17)), ((31, 7), (4, 20)), ((1, 1), (3, 2)), ((6, 5), (1, 1))]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("source, target", RESIZES)
def test_resize_rounds_what_interpolate_computes(source, target, antialias):
    frames = random_frames((2, *source))
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2).double()
    exact = torch.nn.functional.interpolate(planes, size=target, mode="bilinear", antialias=antialias)
    resized = reference.resize(frames, target, antialias)
    assert resized.shape == (2, *target, 3) and resized.dtype == np.uint8
    assert np.abs(resized - exact.permute(0, 2, 3, 1).numpy()).max() <= 0.5 + ROUNDING


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("source, target", RESIZES)
def test_resize_is_torchvisions(source, target, antialias):
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    frames = random_frames((2, *source), seed=1)
    expected = functional.resize(torch.from_numpy(frames).permute(0, 3, 1, 2), list(target), antialias=antialias)
    difference = reference.resize(frames, target, antialias) - expected.permute(0, 2, 3, 1).numpy().astype(int)
    assert np.abs(difference).max() <= 1  # it computes in 16-bit integers


@pytest.mark.parametrize("source, target", RESIZES)
def test_resize_with_antialias_is_pillows(source, target):
    image = pytest.importorskip("PIL.Image")
    frame = random_frames(source, seed=2)
    expected = np.asarray(image.fromarray(frame).resize(target[::-1], image.Resampling.BILINEAR)).astype(int)
    assert np.abs(reference.resize(frame[None], target, antialias=True)[0] - expected).max() <= 1


def test_resize_rounds_halves_up():
    frames = np.array([[[[0, 2, 9]], [[1, 5, 10]]]], np.uint8)
    np.testing.assert_array_equal(reference.resize(frames, (1, 1), antialias=True), [[[[1, 4, 10]]]])


# Y, U, V of colour bars, by hand from the standards' integer tables.
COLOURS = [
    ("bt601", False, (16, 128, 128), (0, 0, 0)),
    ("bt601", False, (235, 128, 128), (255, 255, 255)),
    ("bt601", False, (126, 128, 128), (128, 128, 128)),
    ("bt601", False, (81, 90, 240), (254, 0, 0)),
    ("bt601", False, (145, 54, 34), (0, 255, 1)),
    ("bt601", False, (41, 240, 110), (0, 0, 255)),
    ("bt601", True, (76, 85, 255), (254, 0, 0)),
    ("bt601", True, (255, 128, 128), (255, 255, 255)),
    ("bt709", False, (63, 102, 240), (255, 1, 0)),
    ("bt709", False, (235, 128, 128), (255, 255, 255)),
    ("bt709", True, (54, 99, 255), (254, 0, 0)),
]


@pytest.mark.parametrize("matrix, full_range, yuv, rgb", COLOURS)
def test_nv12_of_colours_known_by_hand(matrix, full_range, yuv, rgb):
    luma, chroma = np.full((3, 5), yuv[0], np.uint8), np.empty((2, 3, 2), np.uint8)
    chroma[...] = yuv[1:]
    pixels = reference.nv12_to_rgb(luma, chroma, matrix, full_range)
    assert pixels.shape == (3, 5, 3) and pixels.dtype == np.uint8
    assert (pixels == pixels[0, 0]).all()
    assert np.abs(pixels[0, 0] - np.array(rgb)).max() <= 1


@pytest.mark.parametrize("matrix, weights", [("bt601", (0.299, 0.587, 0.114)), ("bt709", (0.2126, 0.7152, 0.0722))])
@pytest.mark.parametrize("full_range", [True, False])
def test_nv12_coefficients_undo_the_standards_encoding(matrix, weights, full_range):
    """E'Y, E'CB and E'CR as BT.601 section 2.5 and BT.709 section 3 define them, from red, green and blue."""
    rgb = np.random.default_rng(5).uniform(0, 255, (3, 9))
    luma = np.array(weights) @ rgb
    blueness, redness = (rgb[2] - luma) / (2 - 2 * weights[2]), (rgb[0] - luma) / (2 - 2 * weights[0])
    y, u, v = (
        (luma, blueness, redness) if full_range else (16 + luma * 219 / 255, blueness * 224 / 255, redness * 224 / 255)
    )
    factors = reference.nv12_coefficients(matrix, full_range)
    grey = factors.luma_gain * (y - factors.luma_offset)
    decoded = np.stack(
        (grey + factors.red_v * v, grey + factors.green_u * u + factors.green_v * v, grey + factors.blue_u * u)
    )
    np.testing.assert_allclose(decoded, rgb, rtol=0, atol=ROUNDING)


def test_nv12_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    planes = np.random.default_rng(6).integers(0, 256, (9, 8), np.uint8)  # 6 rows of luma, 3 of chroma pairs
    planes[:6] = planes[:6].clip(16)  # OpenCV takes blacker than black for black
    expected = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12).astype(int)
    pixels = reference.nv12_to_rgb(planes[:6], planes[6:].reshape(3, 4, 2), "bt601", False)
    assert np.abs(pixels - expected).max() <= 1


def test_nv12_of_odd_sizes_takes_each_pixels_own_sample():
    luma, chroma = np.full((3, 3), 100, np.uint8), np.full((2, 2, 2), 128, np.uint8)
    chroma[1, 1, 1] = 200
    reds = reference.nv12_to_rgb(luma, chroma, "bt601", True)[..., 0]
    np.testing.assert_array_equal(reds > 100, [[False] * 3, [False] * 3, [False, False, True]])


def test_unknown_matrix_is_refused():
    with pytest.raises(FrameError, match="matrix: expected bt601 or bt709, got 'bt2020'"):
        reference.nv12_coefficients("bt2020", False)
