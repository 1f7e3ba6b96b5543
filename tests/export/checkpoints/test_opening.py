"""What a checkpoint's own trainer wrote beside the weights is honoured, and flags go before it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch

from fcn_export.checkpoint_options import CheckpointOptions, InputFacts
from fcn_export.checkpoints.opening import open_checkpoint
from fcn_export.checkpoints.remembered import Remembered, remember
from fcn_export.commands import to_onnx
from fcn_export.errors import ExportError
from fcn_export.families.base import InputContract
from tiny_networks import CLASSES, tiny, upstream_state

CONTRACT = InputContract("bgr", 1 / 255, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
NAMES = tuple(f"thing {index}" for index in range(CLASSES))
COLOURS = tuple((index, 2, 255 - index) for index in range(CLASSES))


@pytest.fixture(params=["bare", "dict"])
def remembered_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    facts = Remembered("pochih", "fcn16s", NAMES, COLOURS, CONTRACT, (64, 96))
    state = upstream_state(tiny("pochih fcn16s"))
    content = remember(state if request.param == "bare" else {"model": state, "epoch": 3}, facts)
    torch.save(content, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_facts_of_our_trainer_need_no_flag(remembered_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_checkpoint(str(remembered_file), CheckpointOptions())
    assert (opened.net.family, opened.net.variant, opened.contract) == ("pochih", "fcn16s", CONTRACT)
    assert to_onnx.main([str(remembered_file)]) == 0
    entries = {entry.key: entry.value for entry in onnx.load(remembered_file.with_name("net.onnx")).metadata_props}
    assert json.loads(entries["fcn.classes"]) == list(NAMES)
    assert json.loads(entries["fcn.palette"]) == [list(colour) for colour in COLOURS]
    assert "(as its trainer wrote)\n" in capsys.readouterr().out


def test_flags_go_before_facts(remembered_file: Path) -> None:
    stated = InputFacts(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    opened = open_checkpoint(str(remembered_file), CheckpointOptions(variant="fcns", input=stated))
    assert (opened.net.variant, opened.contract.mean) == ("fcns", (0.0, 0.0, 0.0))


def test_damaged_facts_are_refused(tmp_path: Path) -> None:
    torch.save({"model": upstream_state(tiny("pochih fcns")), "fcnrt": {"format": 9}}, tmp_path / "net.pth")
    with pytest.raises(ExportError, match="what it says of itself under 'fcnrt' is damaged or of a newer trainer"):
        open_checkpoint(str(tmp_path / "net.pth"), CheckpointOptions())
