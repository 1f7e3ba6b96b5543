"""docs/own-data.md from top to bottom, as a newcomer runs it, on a few small pictures and for one epoch."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_trees
from documents import page
from fcnrt.video import VideoWriter, open_source
from places import ROOT
from processes import run

COLOURS = np.array([(10, 20, 30), (0, 200, 0), (250, 0, 90)], np.uint8)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with what the page's commands name."""
    leaves = data_trees.own(tmp_path / "leaves", 6, ("soil", "leaf", "Blüte"))
    (tmp_path / "pictures").symlink_to(leaves / "images")
    (leaves / "classes.txt").rename(tmp_path / "names.txt")
    (leaves / "classes.txt").symlink_to(tmp_path / "names.txt")
    np.savetxt(tmp_path / "colours.txt", COLOURS, fmt="%d")
    (tmp_path / "two.txt").write_text("soil\nplant\n")
    for path in (leaves / "masks").rglob("*.png"):
        labels_hw, name = np.asarray(Image.open(path)), path.relative_to(leaves / "masks")
        coloured = np.vstack([COLOURS, np.full((253, 3), 255, np.uint8)])[labels_hw]
        for folder, mask in (("painted", coloured), ("black-and-white", np.where(labels_hw % 2, 255, 0))):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8)).save(tmp_path / folder / name)
    with VideoWriter(tmp_path / "walk.mp4", 25, (48, 64)) as writer:
        for seed in range(3):
            writer.write(data_trees.frame(seed, (48, 64)))
    return tmp_path


def test_the_page_leads_to_a_film(home: Path) -> None:
    commands = [session.command for session in page("docs/own-data.md").sessions]
    assert len(commands) == 6
    printed = [carried_out(command, home) for command in commands]
    assert "   2 Blüte " in printed[0] and "5 frames to train on, 1 to validate on" in printed[0]
    assert "classes    3: soil, leaf, Blüte" in printed[1] and "passed" in printed[2]
    with open_source(home / "overlay.mp4") as film:
        assert sum(1 for _ in film) == 3
    assert [set(classes_of(text)) for text in printed[4:]] == [
        {"soil", "leaf", "Blüte", "void"},
        {"soil", "plant", "void"},
    ]


def carried_out(command: str, home: Path) -> str:
    """What a command of the page prints; trained for one epoch, on small crops."""
    words = shlex.split(re.sub(r"--epochs \d+", "--epochs 1 --crop 64x64", command.replace("--crop 320x480", "")))
    program = [str(ROOT / words[1]), *words[2:]] if words[0].endswith("python") else ["-m", "fcnrt", *words[1:]]
    done = run(*program, folder=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def classes_of(text: str) -> list[str]:
    return re.findall(r"^ +(?:\d+ )?(\S+) +[\d.]+% of ", text, flags=re.M)
