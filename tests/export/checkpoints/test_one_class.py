"""Networks of one class and a sigmoid: label 1 exactly where upstream's logit is above 0, in every way to run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import upstream
from exports import plain_session
from fcn_export.commands import to_onnx
from fcn_export.families import Fcn
from fcn_export.families.caffe import CaffeFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.families.pochih import PochihFcn
from fcn_export.families.tramac import TramacResNetFcn, TramacVggFcn
from fcn_export.families.vgg import VGG_PLANS
from fcn_export.families.zijundeng import ZijundengFcn
from fcnrt import Segmenter, softmax, upsample
from tiny_networks import INPUT_FLAGS, WIDTHS, drawn, narrow, narrow_resnet, upstream_state

# The families' own networks of one class, as they were before anything of this package's makes two of it.
FAMILIES: dict[str, Callable[[], Fcn]] = {
    **{f"caffe {v}": lambda v=v: CaffeFcn(v, WIDTHS, 24, classes=1) for v in ("fcn32s", "fcn8s-atonce")},
    "zijundeng fcn16s": lambda: ZijundengFcn("fcn16s", WIDTHS, 24, classes=1),
    "tramac fcn8s": lambda: TramacVggFcn("fcn8s", narrow(VGG_PLANS["vgg16"]), 4, classes=1),
    "tramac-resnet fcn": lambda: TramacResNetFcn("fcn", narrow_resnet(True, (6, 6, 10)), 8, classes=1),
    "pochih fcns": lambda: PochihFcn("fcns", narrow(VGG_PLANS["vgg11"]), (32, 16, 8, 8, 8), classes=1),
    "d2l fcn32s": lambda: D2lFcn("fcn32s", narrow_resnet(False), classes=1),
    "d2l fcn32s middle": lambda: D2lFcn("fcn32s", narrow_resnet(False), classes=1, middle=6),
}


def balanced(make: Callable[[], Fcn]) -> Fcn:
    """A network whose logit is above 0 for about half of the pixels of the frame that it will be asked about."""
    net = drawn(make)
    if isinstance(net, D2lFcn):
        nn.init.normal_(net.transpose_conv.weight, std=0.05)
        net.transpose_conv.bias.zero_()
    last = {"pochih": "classifier", "d2l": "final_conv"}.get(net.family, "score_fr")
    layer = net.get_submodule("head.block.4" if net.family.startswith("tramac") else last)
    level = logit(net).median()
    if isinstance(net, D2lFcn):
        net.transpose_conv.bias.sub_(level)
    elif layer.bias is not None:
        layer.bias.sub_(level)
    return net


def logit(net: Fcn) -> Tensor:
    """Upstream's one logit (H, W) for the frame."""
    frames = torch.from_numpy(upstream.frame())[None]
    with torch.inference_mode():
        return net(net.contracts[0].normalise(frames, "rgb"))[0, 0]


def exported(tmp_path: Path, net: Fcn, name: str, *flags: str) -> Path:
    family, variant = name.split()[:2]
    torch.save(upstream_state(net), tmp_path / "net.pth")
    stated = ["--variant", variant, *INPUT_FLAGS.get(family, [])]
    assert to_onnx.main([str(tmp_path / "net.pth"), *stated, *flags]) == 0
    return next(tmp_path.glob("*.onnx"))


def check_labels(labels_hw: np.ndarray, logit_hw: Tensor) -> None:
    above = (logit_hw > 0).numpy()
    assert 0.2 < above.mean() < 0.8, "one class everywhere proves nothing"
    tie = (logit_hw.abs() < 1e-4 * logit_hw.std()).numpy()
    assert np.array_equal(labels_hw[~tie], above[~tie])


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_scores_and_confidence_of_every_family(name: str, tmp_path: Path) -> None:
    net = balanced(FAMILIES[name])
    expected, frame = logit(net), upstream.frame()
    path = exported(tmp_path, net, name)
    confidence = np.zeros(frame.shape[:2], np.uint8)
    with Segmenter(path) as segment:
        check_labels(segment(frame, confidence=confidence), expected)
        scores = segment.scores(frame)
        full = upsample(scores, *frame.shape[:2], segment.spec.tail)
        assert segment.spec.classes == ("background", "foreground") and segment.spec.palette == "voc"
    check_labels(plain_session(path).run(["labels"], {"frames": frame[None]})[0][0], expected)
    assert scores.shape[1] == 2 and not scores[0, 0].any()
    probability = softmax(full)[0, 1]
    sigmoid = torch.sigmoid(expected).numpy()
    inner = (
        slice(16, -16),
        slice(16, -16),
    )  # zeros beyond the border scale margins
    np.testing.assert_allclose(probability[inner], sigmoid[inner], atol=1e-4)
    np.testing.assert_allclose(confidence[inner] / 255, np.maximum(sigmoid, 1 - sigmoid)[inner], atol=0.005)


@pytest.mark.parametrize("dilated", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_torchvisions_own_network(precision: str, dilated: bool, tmp_path: Path) -> None:
    net = upstream.torchvision_fcn(1, bottleneck=dilated, dilate=(False, True, True))
    frame = upstream.frame()
    x = upstream.prepared(frame, **upstream.IMAGENET)
    net.classifier[4].bias.data.sub_(upstream.logits(net, x)[0].median())
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--precision", precision, "-o", str(tmp_path / "net.onnx")]) == 0
    with Segmenter(tmp_path / "net.onnx") as segment:
        labels = segment(frame)
    expected = upstream.logits(net, x)[0]
    if precision == "fp32":
        check_labels(labels, expected)
    else:
        assert np.mean(labels == (expected > 0).numpy()) > 0.99


def test_logit_of_exactly_0_is_background(tmp_path: Path) -> None:
    net = upstream.torchvision_fcn(1)
    net.classifier[4].weight.data.zero_()
    net.classifier[4].bias.data.zero_()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0
    confidence = np.zeros(upstream.ODD, np.uint8)
    with Segmenter(tmp_path / "net.onnx") as segment:
        assert not segment(upstream.frame(), confidence=confidence).any()
    assert set(np.unique(confidence)) <= {127, 128}


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_bias_of_a_bilinear_deconvolution_counts(bias: float, tmp_path: Path) -> None:
    """Equal biases move no argmax between classes, but they do move a logit against 0."""
    net = D2lFcn("fcn32s", narrow_resnet(False), classes=1)
    net = drawn(lambda: net)
    net.transpose_conv.weight.copy_(upstream_bilinear(64))
    net.transpose_conv.bias.zero_()
    net.final_conv.bias.sub_(logit(net).median() + bias)
    net.transpose_conv.bias.fill_(bias)
    path = exported(tmp_path, net, "d2l fcn32s")
    with Segmenter(path) as segment:
        check_labels(segment(upstream.frame()), logit(net))
        assert segment.spec.tail.kind == ("none" if bias else "deconv")


def upstream_bilinear(size: int) -> Tensor:
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / (size / 2)
    return torch.outer(ramp, ramp)


def test_report_and_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(upstream.torchvision_fcn(1).state_dict(), tmp_path / "net.pth")
    (tmp_path / "names.txt").write_text("road\nlane\n")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--classes", str(tmp_path / "names.txt")]) == 0
    report = capsys.readouterr().out
    assert "  sigmoid    one class: label 1 where its logit is above 0, label 0 elsewhere\n" in report
    assert "  classes    2: road, lane\n" in report
    (tmp_path / "names.txt").write_text("lane\n")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--classes", str(tmp_path / "names.txt")]) == 1
    assert "1 names, but the checkpoint has 2 classes" in capsys.readouterr().err
