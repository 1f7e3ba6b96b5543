"""What files, folders and patterns on the command line name."""

from pathlib import Path

import pytest

from fcnrt.errors import MediaError
from fcnrt.pictures.inputs import find, find_inputs, is_sequence, is_video

Image = pytest.importorskip("PIL.Image")


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
        (["nothing.png"], "nothing.png: no such file or folder"),
        (["0"], "0: no such file or folder; a camera is camera:0"),
        (["*.txt"], r"\*.txt: no picture or video there; known are .png"),
        (["b.png", "none/*"], "none/"),
        (["frame_%d.png"], "frame_%d.png: no picture or video there"),
    ],
)
def test_find_inputs_refuses(tree, monkeypatch, patterns, expected):
    monkeypatch.chdir(tree)
    with pytest.raises(MediaError, match=expected):
        find_inputs(patterns)


def test_a_folder_of_folders_tells_how_to_take_them(tmp_path):
    (tmp_path / "trees/oak").mkdir(parents=True)
    with pytest.raises(
        MediaError, match=r"trees/: no picture or video there; \S+trees/\*\*/\* takes what is in folders"
    ):
        find_inputs([f"{tmp_path}/trees/"])


def test_numbers_in_names_count(tmp_path):
    names = [
        "10.png",
        "9.png",
        "a/frame2.png",
        "a/frame10.png",
        "a/frame.png",
        "b2/1.png",
        "b10/1.png",
        "1.png",
        "1a.png",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_inputs([tmp_path / "**/*"])]
    assert " ".join(found) == "1.png 1a.png 9.png 10.png a/frame2.png a/frame10.png a/frame.png b2/1.png b10/1.png"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f_%04d.png", ["f_0002.png", "f_0010.png", "f_12345.png"]),
        ("f_%d.png", ["f_0002.png", "f_3.png", "f_0010.png", "f_12345.png"]),
        ("100%d.png", ["100%d.png"]),  # a file of that very name
    ],
)
def test_a_numbered_sequence(tmp_path, monkeypatch, name, expected):
    monkeypatch.chdir(tmp_path)
    for each in (
        "f_0010.png",
        "f_0002.png",
        "f_3.png",
        "f_12345.png",
        "f_x.png",
        "g_0001.png",
        "100%d.png",
        "1007.png",
    ):
        (tmp_path / each).touch()
    assert [path.name for path in find_inputs([name])] == expected
    assert is_sequence(name) and not is_sequence("a%.png")


def test_what_is_passed_over_is_counted_and_named(tree, monkeypatch):
    monkeypatch.chdir(tree)
    for index in range(4):
        (tree / f"z{index}.txt").touch()
    found = find(".")
    assert found.note == (
        ".: passed over 7, no pictures or videos: .hidden.png, notes.txt, sub/, z0.txt, z1.txt and 2 more; "
        "./**/* takes what is in folders"
    )
    assert find("**/*.*g").note is None and find("b.png").note is None
    assert find("*.[tp]*").note == ".: passed over 5, no pictures or videos: notes.txt, z0.txt, z1.txt, z2.txt, z3.txt"


def test_contents_decide_where_the_suffix_does_not(tree, monkeypatch):
    monkeypatch.chdir(tree)
    Image.new("RGB", (5, 3)).save("photo.jpeg_", format="JPEG")
    assert [path.name for path in find("*o.jpeg_").paths] == ["photo.jpeg_"]
    assert find("notes.txt").paths == [Path("notes.txt")]  # named: whatever it is, its turn will tell


def test_is_video_goes_by_extension():
    assert is_video("a/b.MP4") and is_video("c.mkv")
    assert not is_video("mp4") and not is_video("b.mp4.png")
