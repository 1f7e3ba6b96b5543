"""A folder of pictures as a video."""

from fractions import Fraction

import numpy as np
import pytest

from fcnrt.errors import MediaError
from fcnrt.pictures.images import write_image
from fcnrt.video.sources.stills import Stills

pytest.importorskip("PIL.Image")

SIZES = {"b.png": (13, 9), "a.png": (17, 11), "c.ppm": (3, 5)}


@pytest.fixture
def pictures(tmp_path):
    drawn = {}
    for index, (name, size) in enumerate(SIZES.items()):
        drawn[name] = np.full((*size, 3), 40 * index, np.uint8)
        write_image(tmp_path / name, drawn[name])
    (tmp_path / "notes.txt").touch()
    return drawn


@pytest.mark.parametrize("where", [".", "*.p*", "{folder}"])
def test_pictures_come_in_the_order_of_their_names(tmp_path, monkeypatch, pictures, where):
    monkeypatch.chdir(tmp_path)
    with Stills(where.format(folder=tmp_path)) as source:
        frames = list(source)
    assert (source.size, source.rate, source.frame_count, source.live) == ((17, 11), 25, 3, False)
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0), (1, Fraction(1, 25)), (2, Fraction(2, 25))]
    for frame, name in zip(frames, sorted(pictures), strict=True):
        np.testing.assert_array_equal(frame.pixels, pictures[name])
    assert frames[0].decoded_at <= frames[2].decoded_at


def test_another_rate_and_a_single_picture(tmp_path, pictures):
    assert [frame.time for frame in Stills(tmp_path, rate=Fraction(1, 2))] == [0, 2, 4]
    assert [frame.pixels.shape for frame in Stills(tmp_path / "b.png")] == [(13, 9, 3)]


def test_an_unreadable_picture_is_named_when_its_turn_comes(tmp_path, pictures):
    (tmp_path / "b.png").write_bytes(b"")
    frames = iter(Stills(tmp_path))
    next(frames)
    with pytest.raises(MediaError, match=r"b\.png: expected a picture"):
        next(frames)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no picture or video there"),
        (lambda folder: (folder / "a.png").write_bytes(b""), "a.png: expected a picture"),
        (lambda folder: (folder / "d.mp4").touch(), "expected pictures alone, found .*d.mp4 among them"),
    ],
)
def test_what_cannot_be_opened(tmp_path, pictures, damage, expected):
    damage(tmp_path)
    with pytest.raises(MediaError, match=expected):
        Stills(tmp_path)


def test_nothing_comes_after_closing(tmp_path, pictures):
    source = Stills(tmp_path)
    assert next(iter(source)).number == 0
    source.close()
    source.close()
    assert list(source) == []
