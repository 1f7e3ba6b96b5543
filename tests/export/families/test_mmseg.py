"""mmsegmentation's FCN against a network written here after its sources; what its config tells, and what it may not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import upstream
from fcn_export.commands import to_onnx
from fcn_export.families.base import IMAGENET
from fcn_export.families.mmseg_config import told_by_config
from fcnrt import Segmenter

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CLASSES = 5


class ConvModule(nn.Module):
    """mmcv.cnn.ConvModule with BN and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """mmseg's BasicBlock or Bottleneck of style pytorch: stride and dilation in the first or the middle 3x3."""

    def __init__(self, inplanes: int, planes: int, stride: int, dilation: int, bottleneck: bool):
        super().__init__()
        out = planes * 4 if bottleneck else planes
        self.bottleneck = bottleneck
        three = {"padding": dilation, "dilation": dilation, "stride": stride, "bias": False}
        if bottleneck:
            self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
            self.conv2 = nn.Conv2d(planes, planes, 3, **three)
            self.conv3, self.bn3 = nn.Conv2d(planes, out, 1, bias=False), nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(inplanes, planes, 3, **three)
            self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or inplanes != out:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.bottleneck:
            out = self.bn3(self.conv3(F.relu(out)))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """mmseg's ResNetV1c (deep stem) or ResNet, dilated with contract_dilation=True."""

    def __init__(self, blocks: Sequence[int], bottleneck: bool, deep: bool, strides: Any, dilations: Any):
        super().__init__()
        self.deep = deep
        if deep:
            layers: list[nn.Module] = []
            for a, b, stride in ((3, 8, 2), (8, 8, 1), (8, 16, 1)):
                layers += [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16)
        planes, channels = (8, 12, 16, 20), 16
        for index in range(4):
            stage = []
            for number in range(blocks[index]):
                first = max(1, dilations[index] // 2)
                stage.append(Block(channels, planes[index], strides[index] if number == 0 else 1,
                                   first if number == 0 else dilations[index], bottleneck))  # fmt: skip
                channels = planes[index] * (4 if bottleneck else 1)
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) if self.deep else F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Head(nn.Module):
    """mmseg's FCNHead."""

    def __init__(self, in_channels: int, channels: int, num_convs: int, concat_input: bool, kernel: int, classes: int):
        super().__init__()
        widths = [in_channels, *[channels] * num_convs]
        modules = [ConvModule(widths[i], widths[i + 1], kernel) for i in range(num_convs)]
        self.convs = nn.Sequential(*modules) if modules else nn.Identity()
        self.concat_input = concat_input
        if concat_input:
            self.conv_cat = ConvModule(in_channels + widths[-1], channels, kernel)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        feats = self.convs(x)
        if self.concat_input:
            feats = self.conv_cat(torch.cat([x, feats], dim=1))
        return self.conv_seg(feats)


class EncoderDecoder(nn.Module):
    def __init__(
        self, blocks: Sequence[int] = (1, 1, 2, 1), bottleneck: bool = True, deep: bool = True, stride: int = 8,
        channels: int = 8, num_convs: int = 2, concat_input: bool = True, kernel: int = 3, classes: int = CLASSES,
        align_corners: bool = False,
    ):  # fmt: skip
        super().__init__()
        strides, dilations = {
            8: ((1, 2, 1, 1), (1, 1, 2, 4)),
            16: ((1, 2, 2, 1), (1, 1, 1, 2)),
            32: ((1, 2, 2, 2), (1, 1, 1, 1)),
        }[stride]
        self.backbone = ResNet(blocks, bottleneck, deep, strides, dilations)
        self.decode_head = Head(self.backbone.channels, channels, num_convs, concat_input, kernel, classes)
        self.auxiliary_head = Head(self.backbone.channels, 4, 1, False, 3, classes)
        self.align_corners = align_corners
        self.config = CONFIG.format(align=align_corners, strides=strides, dilations=dilations)

    def forward(self, x: Tensor) -> Tensor:
        out = self.decode_head(self.backbone(x))
        return F.interpolate(out, x.shape[2:], mode="bilinear", align_corners=self.align_corners)


CONFIG = """norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet50_v1c',
    backbone=dict(type='ResNetV1c', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), dilations={dilations},
                  strides={strides}, norm_cfg=dict(type='SyncBN', requires_grad=True), style='pytorch',
                  contract_dilation=True),
    decode_head=dict(type='FCNHead', in_channels=2048, num_convs=2, concat_input=True, align_corners={align},
                     loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 1024)
"""
NETWORKS: dict[str, dict[str, Any]] = {
    "r50-d8": {},
    "r101-d16 aligned": {"blocks": (1, 2, 3, 1), "stride": 16, "align_corners": True},
    "r18-d8": {"blocks": (2, 2, 2, 2), "bottleneck": False},
    "r18b-d32": {"blocks": (2, 1, 1, 1), "bottleneck": False, "deep": False, "stride": 32},
    "no concat": {"concat_input": False, "num_convs": 1},
    "no convs": {"num_convs": 0, "concat_input": True},
    "1x1": {"kernel": 1, "num_convs": 3},
}


def network(**options: Any) -> EncoderDecoder:
    torch.manual_seed(0)
    net = EncoderDecoder(**options)
    return upstream.lively(net, net.decode_head.conv_seg)  # type: ignore[return-value]


def prepared(frame: np.ndarray) -> Tensor:
    return upstream.prepared(frame, MEAN, STD, divide=False)


def saved(path: Path, net: EncoderDecoder, version: int) -> Path:
    """As mmcv's runner (0.x) or mmengine's (1.x) saves it, and as the published files are cut down to."""
    names, colours = [f"thing {i}" for i in range(CLASSES)], [[i, 2 * i, 3 * i] for i in range(CLASSES)]
    if version == 0:
        meta = {"mmseg_version": "0.30.0", "config": net.config, "CLASSES": names, "PALETTE": colours, "epoch": 9}
    else:
        config = net.config.replace("img_norm_cfg", "unused") + (
            "data_preprocessor = dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53],\n"
            "    std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_val=0, seg_pad_val=255)\n"
        )
        meta = {"cfg": config, "dataset_meta": {"classes": tuple(names), "palette": colours}, "iter": 9}
    torch.save({"meta": meta, "state_dict": net.state_dict()}, path)
    return path


def labels_of(path: Path) -> np.ndarray:
    with Segmenter(path) as segment:
        return segment(upstream.frame())


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_labels_are_upstreams_without_a_flag(name: str, version: int, tmp_path: Path, capsys) -> None:
    net = network(**NETWORKS[name])
    assert to_onnx.main([str(saved(tmp_path / "net.pth", net, version))]) == 0
    expected = upstream.logits(net, prepared(upstream.frame()))
    assert upstream.agreement(labels_of(tmp_path / "net.onnx"), expected) == 1
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert json.loads(metadata["fcn.classes"])[1] == "thing 1" and json.loads(metadata["fcn.palette"])[2] == [2, 4, 6]
    corners = "aligned corners" if net.align_corners else "corners not aligned"
    report = capsys.readouterr().out
    assert f"  structure  output stride {NETWORKS[name].get('stride', 8)}, {corners}\n" in report
    assert "(as its config says)\n" in report


def test_half_precision(tmp_path: Path) -> None:
    net = network()
    path = saved(tmp_path / "net.pth", net, 0)
    assert to_onnx.main([str(path), "--precision", "fp16", "-o", str(tmp_path / "net.onnx")]) == 0
    expected = upstream.logits(net, prepared(upstream.frame()))
    assert upstream.agreement(labels_of(tmp_path / "net.onnx"), expected) > 0.99


@pytest.mark.parametrize("aligned", [False, True])
def test_bare_weights_ask_for_the_corners_and_the_advice_works(aligned: bool, tmp_path: Path, capsys) -> None:
    net = network(align_corners=aligned)
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path)
    assert to_onnx.main([str(path)]) == 1
    assert "add --align-corners no (as in upstream's own configs) or --align-corners yes" in capsys.readouterr().err
    assert to_onnx.main([str(path), "--align-corners", "yes" if aligned else "no"]) == 0
    expected = upstream.logits(net, prepared(upstream.frame()))
    assert upstream.agreement(labels_of(tmp_path / "net.onnx"), expected) == 1
    assert "(as published; " in capsys.readouterr().out


def test_flags_state_what_no_config_tells(tmp_path: Path) -> None:
    net = network(stride=32)
    torch.save({"state_dict": nn.DataParallel(net).state_dict()}, tmp_path / "net.pth")
    flags = ["--align-corners", "no", "--output-stride", "32"]
    assert to_onnx.main([str(tmp_path / "net.pth"), *flags]) == 0
    expected = upstream.logits(net, prepared(upstream.frame()))
    assert upstream.agreement(labels_of(tmp_path / "net.onnx"), expected) == 1


@pytest.mark.parametrize("threshold", [None, 0.6])
def test_one_class_has_upstreams_threshold(threshold: float | None, tmp_path: Path, capsys) -> None:
    net = network(classes=1)
    x = prepared(upstream.frame())
    net.decode_head.conv_seg.bias.data.sub_(upstream.logits(net, x)[0].median())
    if threshold is not None:
        net.config = net.config.replace("type='FCNHead'", f"type='FCNHead', threshold={threshold}")
    assert to_onnx.main([str(saved(tmp_path / "net.pth", net, 0))]) == 0
    above = torch.sigmoid(upstream.logits(net, x)[0]) > (threshold or 0.3)
    labels = labels_of(tmp_path / "net.onnx")
    assert 0.1 < above.float().mean() < 0.95 and np.mean(labels == above.numpy()) > 0.9999
    assert f"label 1 where its sigmoid is above {threshold or 0.3:g}, label 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("style='pytorch'", "style='caffe'", "style='caffe'"),
        ("contract_dilation=True", "contract_dilation=False", "contract_dilation=False"),
        ("concat_input=True", "concat_input=True, dilation=6", "dilation=6"),
        ("strides=(1, 2, 1, 1)", "strides=(1, 2, 2, 1)", r"strides (1, 2, 2, 1) with dilations (1, 1, 2, 4)"),
    ],
)
def test_what_the_config_says_and_the_exporter_does_not_know_is_refused(old, new, problem, tmp_path, capsys) -> None:
    net = network()
    assert old in net.config
    net.config = net.config.replace(old, new)
    assert to_onnx.main([str(saved(tmp_path / "net.pth", net, 0))]) == 1
    assert f"its config says {problem}, which is not supported" in capsys.readouterr().err


def test_other_input_in_the_config(tmp_path: Path) -> None:
    net = network()
    net.config = net.config.replace("mean=[123.675, 116.28, 103.53]", "mean=[10.0, 20.0, 30.0]").replace(
        "to_rgb=True", "to_rgb=False"
    )
    assert to_onnx.main([str(saved(tmp_path / "net.pth", net, 0))]) == 0
    x = upstream.prepared(upstream.frame(), (10.0, 20.0, 30.0), STD, divide=False, bgr=True)
    assert upstream.agreement(labels_of(tmp_path / "net.onnx"), upstream.logits(net, x)) == 1


@pytest.mark.parametrize("text", ["not python at all (", "import os; os.system('x')", "model = 3", "(" * 5000, None])
def test_a_config_that_cannot_be_read_tells_nothing(text: str | None, tmp_path: Path, capsys) -> None:
    net = network()
    torch.save({"meta": {"config": text}, "state_dict": net.state_dict()}, tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 1
    assert "--align-corners no" in capsys.readouterr().err


def test_other_heads_and_backbones_of_the_house_are_named(tmp_path: Path, capsys) -> None:
    state = {f"decode_head.bottleneck.conv.{leaf}": torch.ones(8, 8, 3, 3) for leaf in ("weight",)}
    state |= {"decode_head.conv_seg.weight": torch.ones(5, 8, 1, 1), "backbone.stages.0.weight": torch.ones(50, 50)}
    torch.save({"state_dict": state}, tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 1
    assert "it looks like a network of mmsegmentation that is no FCN on a ResNet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config",
    [
        "img_norm_cfg = dict(mean=[1, 2, 3], std=[1, 0, 1])",
        "img_norm_cfg = dict(mean=[1, 2, 1e400], std=[1, 1, 1])",
        "model = dict(backbone=dict(strides='xyz', dilations=[1, 1, 1, 1]), decode_head=dict(threshold=[]))",
        "model = dict(backbone=dict(strides=[1, 9**9], dilations=[1, -1]))",
        "model = [1]",
    ],
)
def test_facts_that_are_none_tell_nothing(config: str) -> None:
    told = told_by_config({"cfg": config, "CLASSES": [1], "PALETTE": [[1, 2, 300]]}, IMAGENET, 0.3)
    assert (told.contract, told.classes, told.palette, told.problem, told.threshold) == (None, None, None, "", 0.3)
