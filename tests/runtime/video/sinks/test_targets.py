"""What the name of an output means, and which sink it opens."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcnrt.errors import MediaError
from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.palette import voc_palette
from fcnrt.video.sinks import FILM, FOLDER, PICTURE, STDOUT, TARGETS, WINDOW, Material, find_target, open_sink

PALETTE = voc_palette(21)
MATERIAL = Material(SimpleNamespace(rate=Fraction(30), name="here"), Drawing(PALETTE), PALETTE)


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("a.mp4", FILM),
        ("folder/a.MKV", FILM),
        ("a.JPG", PICTURE),
        ("folder", FOLDER),
        ("new/folder", FOLDER),
        ("new.gif/", FOLDER),
        ("dotted.png", FOLDER),  # it is there
        (STDOUT, TARGETS[0]),
        (WINDOW, TARGETS[1]),
        ("rtsp://me:secret@server/out.mp4", TARGETS[2]),
        ("UDP://127.0.0.1:5000", TARGETS[2]),
        ("live.m3u8", TARGETS[3]),
    ],
)
def test_a_name_means_one_kind_of_place(where: str, kind: object, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dotted.png").mkdir()
    assert find_target(where) is kind


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("http://me:secret@server/out", "^http://server/out: expected .*; got another one$"),
        ("gopher://server/out", "got another one"),
        ("camera:0", "got a camera"),
        ("a.avi", "got a name that ends in .avi; a folder of that name ends in /"),
        ("a.mp5", "did you mean .mp4"),
        ("a.txt/", "got a file"),
        ("a.txt", "got a file"),
        ("", "^'': expected"),
    ],
)
def test_other_names_are_refused(where: str, message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").touch()
    with pytest.raises(MediaError, match=message):
        find_target(where)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("where", "content", "kind"),
    [
        ("a.mp4", "overlay", "OverlayVideo"),
        ("a.mp4", "labels", "LabelVideo"),
        ("a.png", "overlay", "OverlayPicture"),
        ("a.png", "labels", "LabelPicture"),
        ("a", "labels", "LabelPictures"),
        (STDOUT, "labels", "RawLabels"),
        (WINDOW, "overlay", "Window"),
    ],
)
def test_each_place_opens_its_sink(where: str, content: str, kind: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert type(open_sink(where, content, MATERIAL)).__name__ == kind
    assert list(tmp_path.iterdir()) == []  # before the first frame


@pytest.mark.parametrize(("where", "content"), [(STDOUT, "overlay"), (WINDOW, "labels"), ("folder", "overlay")])
def test_a_place_takes_what_it_can_show(where: str, content: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match=r"expected (labels|an overlay) for "):
        open_sink(where, content, MATERIAL)
