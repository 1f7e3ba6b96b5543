"""Overlays with boundary lines and legends."""

import numpy as np
import pytest

from fcnrt.errors import FrameError
from fcnrt.pictures.drawing import Drawing, draw_boundaries
from fcnrt.pictures.palette import overlay, voc_palette

RNG = np.random.default_rng(5)
PALETTE = voc_palette(21)
NAMES = [f"class {index}" for index in range(21)]


def _frame(height=37, width=53):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _regions(height=37, width=53, dtype=np.uint8):
    """Labels with a disc, a stripe one pixel wide and a single pixel."""
    y, x = np.mgrid[:height, :width]
    labels = np.where((y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 4) ** 2, 5, 1)
    labels[:, width - 9], labels[3, 4] = 7, 9
    return labels.astype(dtype)


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_without_more_it_is_the_overlay(alpha, dtype):
    frame, labels = _frame(), _regions(dtype=dtype)
    before = frame.copy()
    np.testing.assert_array_equal(Drawing(PALETTE, alpha)(frame, labels), overlay(frame, labels, PALETTE, alpha))
    np.testing.assert_array_equal(frame, before)


def test_it_draws_into_what_it_is_given():
    frame, labels = _frame(240, 320), _regions(240, 320)
    drawing = Drawing(PALETTE, boundaries=True, legend=NAMES[:4])
    expected, out = drawing(frame, labels), np.empty_like(frame)
    assert drawing(frame, labels, out) is out
    np.testing.assert_array_equal(out, expected)
    # A view whose pixels do not lie side by side, and the frame itself.
    wide = np.zeros((240, 640, 3), np.uint8)
    drawing(frame, labels, wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], expected)
    np.testing.assert_array_equal(drawing(frame, labels, frame), expected)


# ---- boundaries


def test_a_line_runs_between_classes_and_nowhere_else():
    labels = _regions()
    drawn = Drawing(PALETTE, boundaries=True)(_frame() // 8 + 20, labels)
    plain = overlay(_frame() // 8 + 20, labels, PALETTE)
    line = (drawn == 255).all(axis=-1)
    differs = np.zeros_like(line)
    differs[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    differs[:-1] |= labels[:-1] != labels[1:]
    np.testing.assert_array_equal(line, differs)
    assert 0.05 < line.mean() < 0.2 and (plain < 255).all()


@pytest.mark.parametrize(("height", "width_px"), [(360, 1), (480, 1), (720, 2), (1080, 2), (1440, 3), (2160, 4)])
def test_lines_grow_with_the_frame(height, width_px):
    labels = np.zeros((height, height + 8), np.uint8)
    labels[:, height // 2 :] = 1
    picture = np.zeros((*labels.shape, 3), np.uint8)
    draw_boundaries(picture, labels)
    line = np.flatnonzero(picture[7, :, 0])
    assert len(line) == width_px and (picture == picture[7]).all()
    # In the middle of it the one class ends.
    assert abs(line.mean() + 0.5 - height // 2) <= 0.5


@pytest.mark.parametrize("level", range(0, 256, 15))
def test_lines_are_seen_on_any_ground(level):
    labels = np.eye(8, dtype=np.uint8)
    picture = np.full((8, 8, 3), level, np.uint8)
    draw_boundaries(picture, labels)
    changed = np.abs(picture.astype(int) - level)
    assert set(np.unique(picture)) <= {level, 0, 255} and changed.max() >= 127 and (changed[changed > 0] >= 127).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_lines_in_tiny_frames(shape):
    labels = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    drawn = Drawing(PALETTE, boundaries=True)(np.zeros((*shape, 3), np.uint8), labels)
    assert drawn.any() == (labels.size > 1)


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": 1.5}, r"alpha: expected a number in 0\.\.1, got 1\.5"),
        ({"alpha": float("nan")}, "got nan"),
        ({"legend": [*NAMES, "one more"]}, r"legend: expected at most 21 names \(the palette's length\), got 22"),
    ],
)
def test_refused_when_it_is_made(options, expected):
    with pytest.raises(FrameError, match=expected):
        Drawing(PALETTE, **options)


def test_refused_when_it_draws():
    with pytest.raises(FrameError, match=r"labels: expected below 21 .* got 30"):
        Drawing(PALETTE)(_frame(), np.full((37, 53), 30, np.uint8))


# ---- some classes alone


@pytest.mark.parametrize("in_place", [False, True])
def test_classes_that_are_left_out_show_the_frame(in_place):
    frame = RNG.integers(0, 256, (31, 45, 3)).astype(np.uint8)
    labels = RNG.integers(0, 6, (31, 45)).astype(np.uint8)
    labels[:4] = 255  # void
    before = frame.copy()
    drawn = Drawing(PALETTE[:6], 0.7, only=[4, 1])(frame, labels, frame if in_place else None)
    shown = (labels == 1) | (labels == 4)
    everything = overlay(before, np.where(shown, labels, 0).astype(np.uint8), PALETTE[:6], 0.7)
    np.testing.assert_array_equal(drawn[shown], everything[shown])
    np.testing.assert_array_equal(drawn[~shown], before[~shown])


def test_lines_are_drawn_around_what_is_shown_alone():
    labels = np.repeat(np.array([0, 1, 2, 3, 3, 2, 1, 0], np.uint8), 6)[None].repeat(20, axis=0)
    frame = np.full((*labels.shape, 3), 100, np.uint8)
    drawn = Drawing(PALETTE, 0, boundaries=True, only=[3])(frame, labels)
    changed = np.flatnonzero((drawn != frame).any(axis=(0, 2)))
    assert changed.tolist() == [17, 29] or changed.tolist() == [18, 30]
