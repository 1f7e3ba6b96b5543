"""What checkpoints of our trainer say of themselves comes back, and does not disturb those who do not ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fcn_export.checkpoints.reading import load_checkpoint
from fcn_export.checkpoints.remembered import Remembered, remember, remembered
from fcn_export.errors import ExportError
from fcn_export.families.base import IMAGENET

FACTS = Remembered("d2l", "fcn32s", ("leaf", "Straße"), ((1, 2, 3), (255, 0, 9)), IMAGENET, (320, 481))
NAMED = Remembered("caffe", "fcn8s", ("a",), "camvid", IMAGENET.in_order("bgr"), (64, 65))


def many_times(value: Any) -> Any:
    """A value in lists that hold each other, 2^60 times to whoever looks at all of it."""
    for _ in range(60):
        value = [value, value]
    return value


def saved(content: Any, path: Path) -> Any:
    torch.save(content, path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("facts", [FACTS, NAMED])
@pytest.mark.parametrize("wrapped", [False, True])
def test_facts_come_back_from_a_file(wrapped: bool, facts: Remembered, tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2)
    content = {"model": net.state_dict(), "epoch": 3} if wrapped else net.state_dict()
    loaded = saved(remember(content, facts), tmp_path / "net.pth")
    assert remembered(loaded, "net.pth") == facts
    torch.nn.Linear(3, 2).load_state_dict(loaded["model"] if wrapped else loaded)  # as upstream does
    assert list(load_checkpoint(tmp_path / "net.pth").state) == ["weight", "bias"]


@pytest.mark.parametrize("content", [{"model": {}}, {}, torch.nn.Linear(1, 1).state_dict(), [1], None])
def test_others_say_nothing(content: object) -> None:
    assert remembered(content, "net.pth") is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": many_times([])}, "format: expected 1, got [[[[["),
        ({"format": 2}, "format: expected 1, got 2"),
        ({"classes": []}, "expected names of classes, got []"),
        ({"classes": [1, 2]}, "expected text, got 1"),
        ({"palette": [[1, 2, 3]]}, "expected 2 colours"),
        ({"palette": [[1, 2, 3], [1, 2, 256]]}, "from 0 to 255, got 256"),
        (
            {"input": {"color": "hsv", "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}},
            "expected one of rgb, bgr, got 'hsv'",
        ),
        ({"input": {"color": "rgb", "scale": 1, "mean": [0], "std": [1, 1, 1]}}, "expected three values, got [0]"),
        ({"input": None}, "expected dict, got None"),
        ({"crop": [3]}, "not enough values"),
    ],
)
def test_damaged_facts_are_one_line(change: dict[str, Any], expected: str) -> None:
    content = remember({"model": {}}, FACTS)
    content["fcnrt"].update(change)
    with pytest.raises(ExportError, match=r"net\.pth: what it says of itself under 'fcnrt' is damaged") as caught:
        remembered(content, "net.pth")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
