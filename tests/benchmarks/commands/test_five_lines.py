"""What slips in preparing frames cost: each is done as its title says, and counted against the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import data_trees
from fcn_bench.commands import five_lines
from fcn_bench.parity.slips import AS_TRAINED, SLIPS, Slip, labels_with
from fcn_bench.parity.torch_reference import TorchReference
from fcn_export.families.base import IMAGENET
from tiny_networks import CLASSES, tiny, upstream_state

NAME = "torchvision fcn"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "torchvision-fcn.pth"
    torch.save(upstream_state(tiny(NAME)), path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = data_trees.pairs(tmp_path / "streets", classes=CLASSES)
    (root / "classes.txt").write_text("\n".join(f"class {index}" for index in range(CLASSES)))
    return root


def named(part: str) -> Slip:
    (slip,) = (slip for slip in SLIPS if part in slip.title)
    return slip


def test_as_trained_is_what_the_checkpoint_says(checkpoint: Path) -> None:
    frame = data_trees.frame(3)
    labels = labels_with(AS_TRAINED, tiny(NAME), IMAGENET, frame)
    np.testing.assert_array_equal(labels, TorchReference(str(checkpoint))(frame).labels_hw)


def test_swapped_channels_are_a_picture_in_bgr() -> None:
    net, frame = tiny(NAME), data_trees.frame(4)
    swapped = labels_with(named("channels swapped"), net, IMAGENET, frame)
    np.testing.assert_array_equal(swapped, labels_with(AS_TRAINED, net, IMAGENET, frame[..., ::-1]))


def test_stretched_labels_have_the_size_of_the_frame_and_come_from_the_small_one() -> None:
    labels = labels_with(named("resized to 256x256"), tiny(NAME), IMAGENET, data_trees.frame(5, (77, 301)))
    assert labels.shape == (77, 301) and labels.dtype == np.uint8


def test_result_and_table_say_the_same(
    checkpoint: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "five-lines.json"
    assert five_lines.main([str(checkpoint), "--data", str(tree), "--json", str(output)]) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [row["title"] for row in rows] == [slip.title for slip in SLIPS]
    assert rows[0]["equal_labels"] == 1 and all(row["equal_labels"] < 1 for row in rows[1:])
    printed = capsys.readouterr().out
    assert all(f"| {row['title']} | {100 * row['mean_iou']:.1f} |" in printed for row in rows)


def test_other_classes_are_one_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voc = data_trees.voc(tmp_path)
    assert five_lines.main([str(checkpoint), "--data", str(voc), "--json", str(tmp_path / "x.json")]) == 1
    assert capsys.readouterr().err.endswith(f"expected annotated frames of the checkpoint's {CLASSES} classes\n")
    assert not (tmp_path / "x.json").exists()
