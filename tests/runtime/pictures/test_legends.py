"""Legends: fitting, listing what has been seen, as a picture."""

import numpy as np
import pytest

from fcnrt.errors import FrameError
from fcnrt.pictures import legends
from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.palette import voc_palette

RNG = np.random.default_rng(5)
PALETTE = VOC = voc_palette(21)
NAMES = [f"class {index}" for index in range(21)]


def _frame(height=37, width=53):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


class _Nothing:
    def draw(self, picture_hwc):
        pass


def _listed(monkeypatch):
    """The texts of each table that is drawn from here on."""
    drawn, listed = legends._Table.drawn, []

    def recorded(self):
        listed.append(["".join(text for text, _ in row.runs) for row in self._rows])
        return drawn(self)

    monkeypatch.setattr(legends._Table, "drawn", recorded)
    return listed


def _covered(size, names, palette=PALETTE):
    """Where a legend changes black frames of class 0, whose colour is black, and the notes."""
    drawing = Drawing(palette, legend=names, legend_of="all")
    drawn = drawing(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8))
    return drawn.any(axis=-1), drawing.notes


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (1080, 1920), (641, 367), (2160, 3840)])
@pytest.mark.parametrize("classes", [1, 11, 21])
def test_a_legend_fits_and_covers_a_quarter_at_most(size, classes):
    pytest.importorskip("PIL")
    covered, notes = _covered(size, NAMES[:classes])
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    assert notes == [] and height * width * 4 <= size[0] * size[1]
    assert 0 < rows[0] < 40 and 0 < columns[0] < 40 and rows[-1] < size[0] - 1 and columns[-1] < size[1] - 1
    # Each name has a row of its own, higher than 14 pixels and in proportion to the frame.
    assert height >= max(14, min(size) / 45) * (classes if width * 3 < size[1] and classes < 12 else classes // 3)


def test_a_legend_shows_the_colours_and_some_of_the_frame():
    pytest.importorskip("PIL")
    names, size = ["sky", "road"], (240, 320)
    palette = np.array([(200, 40, 0), (0, 90, 220)], np.uint8)
    labels = np.zeros(size, np.uint8)
    bright, dark = (
        Drawing(palette, 0, legend=names, legend_of="all")(np.full((*size, 3), level, np.uint8), labels)
        for level in (255, 0)
    )
    rows, columns = np.nonzero(dark.any(axis=-1))
    legend = np.zeros(size, np.bool_)
    legend[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    assert (bright[~legend] == 255).all()
    # The frame shines through by 56 parts in 256, under the letters as well.
    assert (np.abs(bright[legend].astype(int) - dark[legend] - 56) <= 1).all()
    for colour in palette:
        assert (np.abs(dark.astype(int) - colour.astype(int) * 200 // 256).max(axis=-1) <= 1).sum() > 30


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (367, 641)])
def test_where_not_all_classes_fit_the_legend_says_how_many_more_there_are(monkeypatch, size):
    pytest.importorskip("PIL")
    made = []
    monkeypatch.setattr(legends, "_Corner", lambda picture, margin: made.append(picture) or _Nothing())
    names = [f"a name, number {index}" for index in range(150)]
    counted = _listed(monkeypatch)
    drawing = Drawing(voc_palette(150), 0, legend=names, legend_of="all")
    drawing(_frame(*size), np.zeros(size, np.uint8))
    *listed, last = counted[-1]
    assert 10 < len(listed) < 150 and last == f"and {150 - len(listed)} more" and listed == names[: len(listed)]
    assert made[0].shape[0] * made[0].shape[1] * 4 <= size[0] * size[1] and drawing.notes == []


def test_150_classes_fit_into_full_hd(monkeypatch):
    pytest.importorskip("PIL")
    counted = _listed(monkeypatch)
    names = [f"a class {index}" for index in range(150)]
    covered, notes = _covered((1080, 1920), names, voc_palette(150))
    assert counted[-1] == names and covered.any() and notes == []


def test_where_not_even_one_class_fits_it_is_noted_once():
    pytest.importorskip("PIL")
    drawing = Drawing(PALETTE, 0, legend=["x"], legend_of="all")
    for _ in range(3):
        assert not drawing(np.zeros((7, 9, 3), np.uint8), np.zeros((7, 9), np.uint8)).any()
    assert drawing.notes == ["no legend fits into frames of 7x9"]


def test_a_legend_lists_what_has_been_seen_and_keeps_it(monkeypatch):
    pytest.importorskip("PIL")
    drawing, counted = Drawing(PALETTE, 0, legend=NAMES), _listed(monkeypatch)
    for label in (7, 3, 7, 3):
        drawing(_frame(240, 320), np.full((240, 320), label, np.uint8))
    assert counted[-1] == ["class 3", "class 7"]
    drawing.begin()
    drawing(_frame(240, 320), np.full((240, 320), 5, np.uint16))
    assert counted[-1] == ["class 5"]


@pytest.mark.parametrize("shape", [(100, 199), (333, 641), (1080, 1921)])
def test_a_class_is_seen_where_it_covers_a_ten_thousandth(shape):
    labels = np.ones(shape, np.uint8)
    labels[0, 0] = 4
    assert legends.seen_in(labels) == ({1, 4} if shape[0] == 100 else {1})
    side = int(np.ceil(np.sqrt(labels.size / 10_000))) + 1
    labels[5 : 5 + side, 9 : 9 + side] = 255
    assert 255 in legends.seen_in(labels)


def test_a_legend_of_nothing_draws_nothing():
    frame = _frame(240, 320)
    only_void = np.full((240, 320), 255, np.uint8)
    np.testing.assert_array_equal(Drawing(PALETTE, 0, legend=NAMES, only=range(21))(frame, only_void), frame)


def test_a_legend_follows_a_change_of_size():
    pytest.importorskip("PIL")
    drawing = Drawing(PALETTE, 0, legend=NAMES[:5], legend_of="all")
    drawn = [drawing(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)) for size in ((240, 320), (720, 960)) * 2]
    assert drawn[1].any(axis=-1).sum() > 4 * drawn[0].any(axis=-1).sum() > 0
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_the_legend_names_what_is_shown():
    frame, labels = np.zeros((200, 300, 3), np.uint8), np.zeros((200, 300), np.uint8)
    names = [f"name {index}" for index in range(5)]
    some = Drawing(PALETTE, 0, legend=names, legend_of="all", only=[3, 1])(frame, labels)
    alone = Drawing(PALETTE[[1, 3]], 0, legend=["name 1", "name 3"], legend_of="all")(frame, labels)
    np.testing.assert_array_equal(some, alone)
    none = Drawing(PALETTE, 0, legend=names, legend_of="all", only=[])(frame, labels)
    np.testing.assert_array_equal(none, frame)


# ---- as a picture


def test_legend_shows_every_colour_and_fits_its_names():
    pytest.importorskip("PIL")
    names = [f"class {index}" for index in range(20)] + ["a much longer name than the others have"]
    picture = legends.legend(names, VOC, font_px=15, columns=4)
    assert picture.dtype == np.uint8 and picture.ndim == 3
    shown = {tuple(pixel) for pixel in picture.reshape(-1, 3)}
    assert {tuple(colour) for colour in VOC} <= shown
    # The rightmost pixels stay white: no name is cut off.
    assert (picture[:, -5:] == 255).all()
    assert legends.legend(names, VOC, columns=1).shape[0] > 3 * legends.legend(names, VOC, columns=4).shape[0]


@pytest.mark.parametrize(
    ("classes", "columns", "expected"),
    [
        ([], 1, "classes: expected 1 to 21"),
        (["x"] * 22, 1, "got 22"),
        (["x"], 0, "columns: expected at least 1, got 0"),
    ],
)
def test_legend_refuses(classes, columns, expected):
    with pytest.raises(FrameError, match=expected):
        legends.legend(classes, VOC, columns=columns)
