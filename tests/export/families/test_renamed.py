"""Families that are another under other names: their own networks, written here, are what labels are held against."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vgg import make_layers

import upstream
from fcn_export.commands import to_onnx
from fcnrt import Segmenter

CLASSES = 5
WIDTHS = [8, 8, "M", 8, 8, "M", 12, 12, 12, "M", 16, 16, 16, "M", 16, 16, 16, "M"]


def check(net: nn.Module, folder: Path, expected: Tensor, *flags: str) -> None:
    torch.save(net.state_dict(), folder / "net.pth")
    assert to_onnx.main([str(folder / "net.pth"), *flags]) == 0
    with Segmenter(folder / "net.onnx") as segment:
        assert upstream.agreement(segment(upstream.frame()), expected) == 1


class EncodingHead(nn.Module):
    def __init__(self, in_channels: int, inter: int):
        super().__init__()
        self.conv5 = nn.Sequential(
            nn.Conv2d(in_channels, inter, 3, padding=1, bias=False), nn.BatchNorm2d(inter), nn.ReLU(),
            nn.Dropout(0.1, False), nn.Conv2d(inter, CLASSES, 1),
        )  # fmt: skip


class EncodingFcn(nn.Module):
    """encoding.models.FCN of PyTorch-Encoding and FastFCN: a dilated ResNet under `pretrained`, align_corners=True."""

    def __init__(self, deep: bool):
        super().__init__()
        body = torchvision.models.resnet.ResNet(
            torchvision.models.resnet.Bottleneck, [1, 1, 2, 1], width_per_group=8,
            replace_stride_with_dilation=[False, True, True],
        )  # fmt: skip
        if deep:
            body.conv1 = nn.Sequential(
                nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                nn.Conv2d(8, 64, 3, 1, 1, bias=False),
            )  # fmt: skip
        self.pretrained, self.head, self.auxlayer = body, EncodingHead(2048, 16), EncodingHead(1024, 8)

    def forward(self, x: Tensor) -> Tensor:
        body, size = self.pretrained, x.shape[2:]
        x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
        x = body.layer4(body.layer3(body.layer2(body.layer1(x))))
        return F.interpolate(self.head.conv5(x), size, mode="bilinear", align_corners=True)


@pytest.mark.parametrize("deep", [True, False])
def test_pytorch_encoding(deep: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = EncodingFcn(deep)
    upstream.lively(net, net.head.conv5[4])
    check(net, tmp_path, upstream.logits(net, upstream.prepared(upstream.frame(), **upstream.IMAGENET)))


class QuickStart(nn.Module):
    """The wrapper of NVIDIA's TensorRT quick start around torchvision's network."""

    def __init__(self) -> None:
        super().__init__()
        self.model = upstream.torchvision_fcn(CLASSES, bottleneck=True, dilate=(False, True, True))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)["out"]


def test_nvidias_quick_start(tmp_path: Path) -> None:
    net = QuickStart().eval()
    check(net, tmp_path, upstream.logits(net, upstream.prepared(upstream.frame(), **upstream.IMAGENET)))


class YassoualiFcn8(nn.Module):
    """FCN8 of yassouali/pytorch-segmentation: padding 100, pools that round up, scaled skips, crops of 5, 9, 31."""

    def __init__(self) -> None:
        super().__init__()
        features = list(make_layers(WIDTHS))
        features[0].padding = (100, 100)
        for layer in features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        self.pool3, self.pool4, self.pool5 = (nn.Sequential(*features[a:b]) for a, b in ((0, 17), (17, 24), (24, 31)))
        self.adj_pool3, self.adj_pool4 = nn.Conv2d(12, CLASSES, 1), nn.Conv2d(16, CLASSES, 1)
        self.output = nn.Sequential(
            nn.Conv2d(16, 24, 7), nn.ReLU(), nn.Dropout(), nn.Conv2d(24, 24, 1), nn.ReLU(), nn.Dropout(),
            nn.Conv2d(24, CLASSES, 1),
        )  # fmt: skip
        self.up_output = nn.ConvTranspose2d(CLASSES, CLASSES, 4, 2, bias=False)
        self.up_pool4_out = nn.ConvTranspose2d(CLASSES, CLASSES, 4, 2, bias=False)
        self.up_final = nn.ConvTranspose2d(CLASSES, CLASSES, 16, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        pool3 = self.pool3(x)
        pool4 = self.pool4(pool3)
        up = self.up_output(self.output(self.pool5(pool4)))
        skip = self.adj_pool4(0.01 * pool4)[:, :, 5 : 5 + up.shape[2], 5 : 5 + up.shape[3]]
        up = self.up_pool4_out(skip + up)
        skip = self.adj_pool3(0.0001 * pool3)[:, :, 9 : 9 + up.shape[2], 9 : 9 + up.shape[3]]
        return self.up_final(skip + up)[:, :, 31 : 31 + height, 31 : 31 + width]


def test_yassouali(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    net = YassoualiFcn8()
    deconvs = (net.up_output, net.up_pool4_out, net.up_final)
    for deconv in deconvs:
        size = deconv.kernel_size[0]
        ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / (size / 2)
        deconv.weight.data.zero_()[range(CLASSES), range(CLASSES)] = torch.outer(ramp, ramp)
    upstream.lively(net, net.output[6], net.adj_pool3, net.adj_pool4, *deconvs, balance=(net.output[6],))
    mean, std = (0.45734706, 0.43338275, 0.40058118), (0.23965294, 0.23532275, 0.2398498)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 1
    assert "add --mean R,G,B --std R,G,B from its data loader" in capsys.readouterr().err
    flags = ["--mean", ",".join(map(str, mean)), "--std", ",".join(map(str, std))]
    check(net, tmp_path, upstream.logits(net, upstream.prepared(upstream.frame(), mean, std)), *flags)
