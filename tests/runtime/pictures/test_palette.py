"""Class colours, overlay and legend."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fcnrt.errors import FcnrtError, FrameError
from fcnrt.pictures import palette
from fcnrt.pictures.generated import oklab

RNG = np.random.default_rng(3)
FRAME = RNG.integers(0, 256, (37, 23, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 21, (37, 23), dtype=np.uint8)
VOC = palette.voc_palette(21)


def test_voc_palette_follows_the_bit_rule():
    colours = palette.voc_palette(256)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 4: (0, 0, 128), 8: (64, 0, 0), 15: (192, 128, 128)}
    known |= {20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: tuple(colours[index]) for index in known} == known


@pytest.mark.parametrize("make", [palette.voc_palette, palette.generated_palette])
def test_rules_make_distinct_colours_for_every_count(make):
    most = make(65535)
    assert most.shape == (65535, 3) and most.dtype == np.uint8
    assert len(np.unique(most, axis=0)) == 65535
    np.testing.assert_array_equal(make(7), most[:7])


@pytest.mark.parametrize(("count", "apart"), [(8, 0.1), (21, 0.1), (64, 0.05), (150, 0.03), (256, 0.02)])
def test_generated_colours_are_far_apart_to_the_eye(count, apart):
    colours = oklab(palette.generated_palette(count))
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert distances[~np.eye(count, dtype=bool)].min() > apart


def test_generated_colours_come_in_the_order_of_their_distance():
    greys = np.array([[0] * 3, [128] * 3, [255] * 3])
    colours = oklab(np.concatenate([greys, palette.generated_palette(64)]))
    nearest = [np.linalg.norm(colours[:index] - colours[index], axis=-1).min() for index in range(3, 67)]
    assert (np.diff(nearest) < 0.001).all()


def test_generated_colours_are_bright():
    colours = palette.generated_palette(65535)
    assert oklab(colours)[:, 0].min() > 0.45 and oklab(colours[:256])[:, 0].min() >= 0.55
    assert colours.max(axis=-1).min() >= 96


@pytest.mark.parametrize(
    ("name", "count", "index", "colour"),
    [
        ("voc", 21, 12, (64, 0, 128)),
        ("cityscapes", 19, 13, (0, 0, 142)),
        ("camvid", 11, 8, (64, 0, 128)),
        ("camvid", 3, 0, (128, 128, 128)),
        ("generated", 300, 2, (255, 170, 0)),
    ],
)
def test_named_palette(name, count, index, colour):
    colours = palette.named_palette(name, count)
    assert colours.shape == (count, 3) and colours.dtype == np.uint8
    assert tuple(colours[index]) == colour


def test_named_palette_hands_out_a_copy():
    palette.named_palette("camvid", 11)[:] = 0
    assert palette.CAMVID.any()


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("rainbow", 5, "expected one of voc, cityscapes, camvid, generated, got 'rainbow'"),
        ("cityscapes", 20, "expected at most 19 classes, got 20"),
        ("camvid", 12, "expected at most 11 classes, got 12"),
        ("voc", 0, "expected 1 to 65535 colours, got 0"),
        ("generated", 65536, "expected 1 to 65535 colours, got 65536"),
        ("camvid", -1, "got -1"),
    ],
)
def test_named_palette_refuses(name, count, expected):
    with pytest.raises(FcnrtError, match=expected):
        palette.named_palette(name, count)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("height", [1, 15, 16, 33, 37])
def test_overlay_is_the_rounded_blend(alpha, height):
    frame, labels = FRAME[:height], LABELS[:height]
    weight = round(256 * alpha)
    expected = (frame.astype(int) * (256 - weight) + VOC[labels].astype(int) * weight + 128) // 256
    np.testing.assert_array_equal(palette.overlay(frame, labels, VOC, alpha), expected)


def test_overlay_is_exact_at_both_ends_and_for_extreme_values():
    white, black = np.full_like(FRAME, 255), np.zeros_like(FRAME)
    colours = np.array([(255, 255, 255), (0, 0, 0)], dtype=np.uint8)
    labels = LABELS % 2
    np.testing.assert_array_equal(palette.overlay(FRAME, LABELS, VOC, 0), FRAME)
    np.testing.assert_array_equal(palette.overlay(FRAME, LABELS, VOC, 1), VOC[LABELS])
    assert (palette.overlay(white, labels, colours, 0.5)[labels == 0] == 255).all()
    assert (palette.overlay(black, labels, colours, 0.5)[labels == 1] == 0).all()


def test_overlay_takes_wide_labels_and_arrays_that_are_not_contiguous():
    expected = palette.overlay(np.ascontiguousarray(FRAME[::-1, ::2]), np.ascontiguousarray(LABELS[::-1, ::2]), VOC)
    got = palette.overlay(FRAME[::-1, ::2], LABELS[::-1, ::2].astype(np.uint16), VOC)
    np.testing.assert_array_equal(got, expected)


def test_overlay_of_a_bgr_frame_takes_the_reversed_palette():
    swapped = palette.overlay(FRAME[..., ::-1], LABELS, VOC[:, ::-1])
    np.testing.assert_array_equal(swapped[..., ::-1], palette.overlay(FRAME, LABELS, VOC))


def test_overlay_writes_into_out_and_in_place():
    expected = palette.overlay(FRAME, LABELS, VOC)
    frame, out = FRAME.copy(), np.empty_like(FRAME)
    assert palette.overlay(FRAME, LABELS, VOC, out=out) is out
    palette.overlay(frame, LABELS, VOC, out=frame)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"frame_hwc": FRAME[..., 0]}, r"frame: expected uint8 \(H, W, 3\), got uint8 \(37, 23\)"),
        ({"frame_hwc": FRAME.astype(np.float32)}, "got float32"),
        ({"labels_hw": LABELS[:-1]}, r"labels: .*\(37, 23\).* got uint8 \(36, 23\)"),
        ({"labels_hw": LABELS.astype(np.int64)}, "got int64"),
        ({"labels_hw": LABELS + 1}, "labels: expected below 21 .* got 21"),
        ({"palette": VOC[:, :2]}, r"palette: expected uint8 \(count, 3\), got uint8 \(21, 2\)"),
        ({"palette": VOC.astype(int)}, "palette: expected uint8"),
        ({"alpha": 1.01}, r"alpha: expected a number in 0\.\.1, got 1\.01"),
        ({"alpha": float("nan")}, "got nan"),
        (
            {"out": np.empty((37, 23, 4), np.uint8)},
            r"out: expected uint8 \(37, 23, 3\), got uint8 \(37, 23, 4\)",
        ),
    ],
)
def test_overlay_refuses(changed, expected):
    with pytest.raises(FrameError, match=expected):
        palette.overlay(**{"frame_hwc": FRAME, "labels_hw": LABELS, "palette": VOC, **changed})


def test_import_needs_numpy_alone():
    code = (
        "import sys, fcnrt.pictures.palette, fcnrt.video\n"
        "print([name for name in ('PIL', 'cv2', 'torch') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
