"""What files, folders and patterns on the command line name."""

import pytest

from fcnrt.errors import MediaError
from fcnrt.pictures.inputs import find_inputs, is_video


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.JPG", "clip.mp4", "notes.txt", ".hidden.png", "x[1].png", "sub/c.tif"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["."], ["a.JPG", "b.png", "clip.mp4", "x[1].png"]),
        (["*.png"], ["b.png", "x[1].png"]),
        (["**/*"], ["a.JPG", "b.png", "clip.mp4", "sub/c.tif", "x[1].png"]),
        (["x[1].png"], ["x[1].png"]),
        ([".hidden.png"], [".hidden.png"]),
        (["clip.mp4", "*.JPG", ".", "sub"], ["clip.mp4", "a.JPG", "b.png", "x[1].png", "sub/c.tif"]),
    ],
)
def test_find_inputs(tree, monkeypatch, patterns, expected):
    monkeypatch.chdir(tree)
    assert [path.as_posix() for path in find_inputs(patterns)] == expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], "expected at least one file"),
        (["nothing.png"], "nothing.png: no picture or video there"),
        (["*.txt"], r"\*.txt: no picture or video there; known are .png"),
        (["notes.txt"], "notes.txt: expected a name that ends in .png"),
        (["b.png", "none/*"], "none/"),
    ],
)
def test_find_inputs_refuses(tree, monkeypatch, patterns, expected):
    monkeypatch.chdir(tree)
    with pytest.raises(MediaError, match=expected):
        find_inputs(patterns)


def test_is_video_goes_by_extension():
    assert is_video("a/b.MP4") and is_video("c.mkv")
    assert not is_video("mp4") and not is_video("b.mp4.png")
