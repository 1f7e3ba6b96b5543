"""Whether a file is a picture or a film, told by its name or its first bytes."""

from pathlib import Path

import numpy as np
import pytest

from fcnrt.pictures.kinds import FILM_SUFFIXES, PICTURE_SUFFIXES, is_animated, is_media, kind_of

Image = pytest.importorskip("PIL.Image")
av = pytest.importorskip("av")
from helpers.clips import clip  # noqa: E402

FRAMES = [Image.fromarray(np.full((19, 31, 3), 90 * index, np.uint8)) for index in range(3)]


def test_each_suffix_means_one_kind():
    assert not set(PICTURE_SUFFIXES) & set(FILM_SUFFIXES)
    for suffixes in (PICTURE_SUFFIXES, FILM_SUFFIXES):
        assert len(set(suffixes)) == len(suffixes) and all(suffix == suffix.lower() for suffix in suffixes)
    assert kind_of("a.M2TS") == "film" and kind_of("a.JFIF") == "picture" and kind_of("a.txt") is None


@pytest.mark.parametrize(
    "suffix", ["mp4", "mov", "mkv", "webm", "avi", "flv", "ts", "mpg", "ogv", "wmv", "3gp", "y4m", "ivf"]
)
def test_films_are_known_by_their_first_bytes(tmp_path, suffix):
    codecs = {"webm": "vp9", "ivf": "vp9", "ogv": "libtheora", "mpg": "mpeg2video", "wmv": "mpeg4", "3gp": "mpeg4"}
    codec = "rawvideo" if suffix == "y4m" else codecs.get(suffix, "h264")
    try:
        film = clip(tmp_path / f"a.{suffix}", codec=codec, frames=12)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg cannot write it: {error}")
    assert kind_of(film.rename(tmp_path / "nameless")) == "film"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP", "JPEG2000", "AVIF"])
def test_pictures_are_known_by_their_first_bytes(tmp_path, file_format):
    path = tmp_path / "nameless.dat"
    FRAMES[0].save(path, format=file_format)
    assert kind_of(path) == "picture" and is_media(path)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "avif"])
def test_a_picture_that_moves_is_a_film(tmp_path, suffix):
    moving, still = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    FRAMES[0].save(moving, save_all=True, append_images=FRAMES[1:], duration=40)
    FRAMES[0].save(still)
    assert (kind_of(moving), kind_of(still)) == ("film", "picture")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF",
        b"a text\n" * 99,
        b"II*\0" + bytes(99),
        b"MM\0*" + bytes(99),
        bytes(2000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
    ],
)
def test_other_contents_are_neither(tmp_path, content):
    path = tmp_path / "file.nef"  # cameras' raw files are TIFF with a thumbnail first
    path.write_bytes(content)
    assert kind_of(path) is None and not is_media(path) and not is_animated(path)


def test_what_is_no_file_is_neither(tmp_path):
    assert kind_of(tmp_path) is None and kind_of(tmp_path / "missing") is None
    assert kind_of(Path("missing.png")) == "picture"  # by its name; who reads it will tell
