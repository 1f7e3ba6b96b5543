"""The dilation of a ResNet, which no key tells: the published one is said, any other stated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import upstream
from fcn_export.commands import to_onnx
from fcnrt import Segmenter

DILATIONS = {8: (False, True, True), 16: (False, False, True), 32: (False, False, False)}


@pytest.mark.parametrize("stride", DILATIONS)
def test_every_stride_labels_as_torchvision(stride: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = upstream.torchvision_fcn(5, bottleneck=True, dilate=DILATIONS[stride])
    torch.save(net.state_dict(), tmp_path / "net.pth")
    flags = [] if stride == 8 else ["--output-stride", str(stride)]
    assert to_onnx.main([str(tmp_path / "net.pth"), *flags]) == 0
    frame = upstream.frame()
    with Segmenter(tmp_path / "net.onnx") as segment:
        labels = segment(frame)
    expected = upstream.logits(net, upstream.prepared(frame, **upstream.IMAGENET))
    assert upstream.agreement(labels, expected) == 1
    how = "as published; --output-stride 16 or 32 to say otherwise" if stride == 8 else "as stated"
    assert f"  structure  output stride {stride}, {how}\n" in capsys.readouterr().out


def test_wrong_stride_labels_otherwise(tmp_path: Path) -> None:
    net = upstream.torchvision_fcn(5, bottleneck=True)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--output-stride", "8"]) == 0
    frame = upstream.frame()
    with Segmenter(tmp_path / "net.onnx") as segment:
        labels = segment(frame)
    assert upstream.agreement(labels, upstream.logits(net, upstream.prepared(frame, **upstream.IMAGENET))) < 0.9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output-stride", "8"], "--output-stride 8: this torchvision network has 32; drop the flag"),
        (["--output-stride", "32", "--variant", "fcn-stride16"], "say torchvision fcn"),
    ],
)
def test_strides_that_a_network_cannot_have(flags, message, tmp_path: Path, capsys) -> None:
    torch.save(upstream.torchvision_fcn(5).state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), *flags]) == 1
    assert message in capsys.readouterr().err
    assert to_onnx.main([str(tmp_path / "net.pth"), "--output-stride", "32"]) == 0
