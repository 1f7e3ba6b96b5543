"""Files appear whole or not at all, and with the rights that the user's other files have."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fcnrt.contract.files import atomic_path, write_json


def test_a_file_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_path(path) as part:
        part.write_text("whole")
        assert part.suffix == ".txt" and not path.exists()
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1} and list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    write_json(tmp_path / "ours.json", 1)
    (tmp_path / "other").write_text("")
    assert os.stat(tmp_path / "ours.json").st_mode == os.stat(tmp_path / "other").st_mode
