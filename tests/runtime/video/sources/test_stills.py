"""A folder of pictures as a video."""

from fractions import Fraction

import numpy as np
import pytest

from fcnrt.errors import MediaError
from fcnrt.pictures.writing import write_image
from fcnrt.video.sources import open_source
from fcnrt.video.sources.stills import Animation, Stills

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("av")
from helpers.clips import drained  # noqa: E402

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


def test_an_unreadable_picture_does_not_end_the_film(tmp_path, pictures):
    (tmp_path / "b.png").write_bytes(b"")
    source = Stills(tmp_path)
    frames = list(source)
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0), (2, Fraction(2, 25))]
    assert source.faults == {"unreadable pictures": 1} and source.frame_count == 3
    assert source.notes[0].endswith("passed over 1, no pictures or videos: notes.txt")
    assert source.notes[1].startswith(f"{tmp_path}/b.png: expected a picture") and len(source.notes) == 2


def test_many_unreadable_pictures_are_counted_and_some_are_named(tmp_path, pictures):
    for index in range(9):
        (tmp_path / f"a{index}.png").write_bytes(b"")
    source = Stills(tmp_path)
    assert [frame.number for frame in source] == [9, 10, 11]
    assert source.faults == {"unreadable pictures": 9} and len(source.notes) == 1 + 5


def test_notes_of_its_pictures_are_kept(tmp_path):
    write_image(tmp_path / "a.jpg", np.zeros((40, 50, 3), np.uint8))
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-20])
    source = Stills(tmp_path / "a.jpg")
    assert len(list(source)) == 1 and source.notes == [f"{tmp_path}/a.jpg: lacks its end; read as far as it goes"]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_a_picture_that_moves(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [Image.fromarray(np.full((13, 9, 3), shade, np.uint8)) for shade in (0, 90, 180)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 200, 40])
    with open_source(path) as source:
        read = list(source)
    assert isinstance(source, Animation) and (source.size, source.rate, source.frame_count) == ((13, 9), 25, 3)
    assert [(frame.number, float(frame.time)) for frame in read] == [(0, 0), (1, 0.04), (2, 0.24)]
    assert [round(frame.pixels.mean() / 90) for frame in read] == [0, 1, 2]
    assert not source.live and source.color == "rgb" and list(source) == []


def test_a_moving_picture_that_is_cut_off(tmp_path):
    frames = [Image.fromarray(np.random.default_rng(k).integers(0, 255, (40, 30, 3), np.uint8)) for k in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=40)
    (tmp_path / "a.gif").write_bytes((tmp_path / "a.gif").read_bytes()[:-300])
    source = Animation(tmp_path / "a.gif")
    frames, error = drained(source)
    assert len(frames) >= 2 and "a.gif: cannot read this picture: " in str(error)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no picture or video there"),
        (lambda folder: [path.write_bytes(b"") for path in folder.glob("*.p*")], r"\.p.*: expected a picture"),
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
