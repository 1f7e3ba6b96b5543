"""The inputs of an archive in their database: the names that `fcnrt segment` gives, whatever files are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fcnrt.cli.archives import Archive
from fcnrt.cli.jobs import plan_jobs
from fcnrt.errors import MediaError
from fcnrt.pictures.inputs import Search

PNG = b"\x89PNG\r\n\x1a\n"
TREES = {
    "one folder": (["b/10.png", "b/2.png", "b/notes.txt", "b/inner/3.png"], ["b"]),
    "same stem in two folders": (["a/x.png", "b/x.png", "b/y.png"], ["a", "b/*.png", "a/x.png"]),
    "same stem, other suffixes": (["a/x.png", "a/x.jpg", "a/X.bmp", "a/z.jpg"], ["a"]),
    "both": (["a/x.png", "a/x.jpg", "b/x.png"], ["a", "b"]),
    "files with patterns in their names": (["a/[1].png", "a/1.png"], ["a/[1].png"]),
    "a tree": (["a/b/c/1.png", "a/b/2.png"], ["a/**/*"]),
    "no text": (["a/\udcff.png", "a/Ä '\" b.png"], ["a"]),
}


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    files, inputs = TREES[request.param]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    return inputs


def made(inputs: list[str], notes: list[str]) -> Archive:
    return Archive(inputs, "out", labels=False, overlay=False, tell=notes.append)


def test_outputs_are_called_as_segment_calls_them(tree: list[str]) -> None:
    notes: list[str] = []
    os.mkdir("out")
    plan, archive = plan_jobs(tree, "out", labels=False, overlay=False), made(tree, notes)
    items = list(archive.missing)
    assert {(item.source, item.outputs) for item in items} == {
        (os.path.abspath(job.source), tuple(job.outputs)) for job in plan.jobs
    }
    assert len(items) == len(archive.missing) == archive.total == len(plan.jobs)
    assert notes == plan.notes
    archive.close()


def test_what_is_done_and_there_is_left_out(tree: list[str]) -> None:
    archive = made(tree, [])
    first, *rest = archive.missing
    names = [first.source, *(item.source for item in rest), "another.png"]
    archive.drop(names, lambda where: where != first.outputs[-1][0])
    assert list(archive.missing) == [first] and archive.total == 1 + len(rest)
    archive.close()


def test_more_than_is_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcnrt.cli.archives._AT_ONCE", 3)
    for index in range(10):
        (tmp_path / f"{index}.png").write_bytes(PNG)
    archive = made([str(tmp_path)], [])
    assert [Path(item.source).stem for item in archive.missing] == [*"0123456789"]
    archive.drop((str(tmp_path / f"{index}.png") for index in (0, 3, 4, 9)), lambda where: True)
    assert [Path(item.source).stem for item in archive.missing] == [*"125678"]
    archive.close()


def test_a_search_tells_what_it_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    for index in range(7):
        (tmp_path / f"{index}.txt").write_text("text")
    search = Search(tmp_path)
    assert list(search) == [tmp_path / "a.png"] and search.root == tmp_path
    assert search.note and search.note.startswith(f"{tmp_path}: passed over 7, no pictures or videos: ")
    assert search.note.endswith(" and 2 more")
    with pytest.raises(MediaError, match="no picture or video there"):
        list(Search(tmp_path / "*.txt"))
    with pytest.raises(MediaError, match="no such file or folder"):
        Search(tmp_path / "none.png")
