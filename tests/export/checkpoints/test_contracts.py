"""What a network was trained on: published, asked for, or stated; stated ones give upstream's labels."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import upstream
from fcn_export.checkpoint_options import InputFacts, checkpoint_options
from fcn_export.checkpoints.contracts import choose_contract, described, telling_flags
from fcn_export.command_line import add_checkpoint_flags
from fcn_export.commands import to_onnx
from fcn_export.errors import ExportError
from fcn_export.families import FAMILIES, Fcn
from fcn_export.families.base import IMAGENET, IMAGENET_MEAN, IMAGENET_STD
from fcnrt import Segmenter
from tiny_networks import tiny, upstream_state

BY_NAME = {family.family: family for family in FAMILIES}


def parsed(flags: str) -> InputFacts:
    parser = argparse.ArgumentParser()
    add_checkpoint_flags(parser)
    return checkpoint_options(parser.parse_args(shlex.split(flags))).input


@pytest.mark.parametrize("family", [family for family in FAMILIES if len(family.published_contracts(7)) > 1])
def test_several_published_contracts_are_asked_for_and_each_advice_leads_to_its_contract(family: type[Fcn]) -> None:
    published = family.published_contracts(7)
    for contract in published:
        flags = telling_flags(contract, list(published))
        with pytest.raises(ExportError, match="the weights cannot tell what frames were normalised by") as caught:
            choose_contract(family, classes=7)
        assert f"{flags} ({described(contract)})" in str(caught.value)
        found = choose_contract(family, parsed(flags), classes=7)
        assert (found.color, found.scale) == (contract.color, contract.scale)
        np.testing.assert_allclose((found.mean, found.std), (contract.mean, contract.std), rtol=1e-8)


@pytest.mark.parametrize("family", [family for family in FAMILIES if len(family.published_contracts(7)) == 1])
def test_one_published_contract_is_taken(family: type[Fcn]) -> None:
    assert choose_contract(family) == family.contracts[0]


def test_pochihs_own_data_sets_are_known_by_their_class_counts() -> None:
    own = BY_NAME["pochih"].contracts[0]
    assert choose_contract(BY_NAME["pochih"], classes=20) == choose_contract(BY_NAME["pochih"], classes=32) == own


@pytest.mark.parametrize(
    ("family", "flags", "color", "scale", "mean", "std"),
    [
        ("torchvision", "--mean 0.5 --std 0.25", "rgb", 1 / 255, (0.5,) * 3, (0.25,) * 3),
        ("torchvision", "--input-color bgr --mean 0 --std 1", "bgr", 1 / 255, (0,) * 3, (1,) * 3),
        ("torchvision", "--input-scale 1 --mean 1,2,3 --std 4,5,6", "rgb", 1, (1, 2, 3), (4, 5, 6)),
        ("caffe", "--mean 104.00699,116.66877,122.67892 --std 255", "bgr", 1, None, (255,) * 3),
        ("caffe", "--input-scale 1/255 --mean 104/255,117/255,123/255 --std 1", "bgr", 1 / 255, None, (1,) * 3),
        ("d2l", "--input-scale 1/255 --input-mean 0.5 --input-std 0.5", "rgb", 1 / 255, (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_a_stated_contract_is_taken(family, flags, color, scale, mean, std) -> None:
    found = choose_contract(BY_NAME[family], parsed(flags))
    assert (found.color, found.std) == (color, std) and found.scale == pytest.approx(scale)
    assert mean is None or found.mean == mean


@pytest.mark.parametrize(
    ("family", "flags", "text", "advice"),
    [
        ("torchvision", "--mean 0.5", "add --std A,B,C (1 if there was none)", "--mean 0.5 --std 1"),
        ("torchvision", "--std 0.5", "add --mean A,B,C (0 if there was none)", "--mean 0 --std 0.5"),
        ("torchvision", "--input-scale 1", "published as trained on RGB / 255", "--input-scale 1 --mean 1,2,3 --std 4"),
        ("torchvision", "--input-color bgr", "--mean B,G,R --std B,G,R", "--input-color bgr --mean 1,2,3 --std 4"),
        ("caffe", "--mean 0.4 --std 0.2", "add --input-scale 1/255 or 1", "--mean 0.4 --std 0.2 --input-scale 1/255"),
        ("zijundeng", "--mean 0.4 --std 0.2 --input-scale 1", "add --input-color rgb or bgr",
         "--mean 0.4 --std 0.2 --input-scale 1 --input-color rgb"),
        ("d2l", "--mean 0.4 --std 0.2", "add --input-scale 1/255 or 1", "--mean 0.4 --std 0.2 --input-scale 1"),
        ("torchvision", "--mean 102,51,0 --std 1", "say --mean 0.4,0.2,0, or", "--mean 0.4,0.2,0 --std 1"),
    ],
)  # fmt: skip
def test_half_a_statement_is_refused_and_the_advice_works(family: str, flags: str, text: str, advice: str) -> None:
    with pytest.raises(ExportError) as caught:
        choose_contract(BY_NAME[family], parsed(flags))
    assert text in str(caught.value)
    choose_contract(BY_NAME[family], parsed(advice.replace("--mean 1,2,3", "--mean 0.1,0.2,0.3")))


@pytest.mark.parametrize(
    "flags", ["--mean 1,2", "--mean 1,2,3,4", "--std 0", "--std 1,1,-1", "--mean nan", "--mean 1/0", "--mean x",
              "--input-scale 0", "--input-scale -1", "--input-scale 1e400", "--input-color gray", "--std inf"]
)  # fmt: skip
def test_numbers_that_are_none_end_with_2(flags: str) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(flags)
    assert caught.value.code == 2


def test_contracts_in_words() -> None:
    assert described(IMAGENET) == "RGB / 255, ImageNet mean and std"
    assert described(BY_NAME["caffe"].contracts[0]).startswith("BGR 0-255, mean 104.00698793, ")
    assert described(BY_NAME["pochih"].contracts[0]) == "BGR / 255, mean 103.939/255, 116.779/255, 123.68/255"


CASES = {
    # a notebook that feeds cv2.imread(...) / 255 to torchvision's network
    "bgr / 255": (False, "--input-color bgr --mean 0 --std 1", {"mean": (0, 0, 0), "std": (1, 1, 1), "bgr": True}),
    "0-255": (True, "--input-scale 1 --mean 0 --std 1", {"mean": (0, 0, 0), "std": (1, 1, 1), "divide": False}),
    "-1 to 1": (True, "--mean 0.5 --std 0.5", {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}),
    "rgb statistics on bgr": (
        False,
        "--input-color bgr --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
        {**upstream.IMAGENET, "bgr": True},
    ),
}


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("case", CASES)
def test_stated_contracts_label_as_upstream(case: str, color: str, tmp_path: Path) -> None:
    bottleneck, flags, preparation = CASES[case]
    net = upstream.torchvision_fcn(5, bottleneck, (False, True, True))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--color", color, *flags.split()]) == 0
    frame = upstream.frame()
    with Segmenter(tmp_path / "net.onnx") as segment:
        labels = segment(np.ascontiguousarray(frame if color == "rgb" else frame[..., ::-1]))
    assert upstream.agreement(labels, upstream.logits(net, upstream.prepared(frame, **preparation))) == 1


def test_report_says_what_was_assumed_and_what_was_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(upstream_state(tiny("torchvision fcn")), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0
    published = "(as published; --mean --std --input-color to say otherwise)"
    assert f"  trained on RGB / 255, ImageNet mean and std {published}\n" in capsys.readouterr().out
    assert to_onnx.main([str(tmp_path / "net.pth"), "--mean", "0.5", "--std", "0.5"]) == 0
    assert "  trained on RGB / 255, mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5 (as stated)\n" in capsys.readouterr().out


def test_meetps_statistics_keep_halves_in_range(tmp_path: Path) -> None:
    """A Caffe-style network on small inputs needs no gain, which would push its activations below what halves hold."""
    net = tiny("caffe fcn32s")
    torch.save({key: value * 255 if key == "conv1_1.weight" else value for key, value in upstream_state(net).items()},
               tmp_path / "net.pth")  # fmt: skip
    mean = ",".join(map(str, BY_NAME["caffe"].contracts[0].mean))
    flags = ["--mean", mean, "--std", "255", "--precision", "fp16"]
    assert to_onnx.main([str(tmp_path / "net.pth"), *flags, "-o", str(tmp_path / "net.onnx")]) == 0


def test_statistics_of_the_family_are_imagenets() -> None:
    assert (upstream.IMAGENET["mean"], upstream.IMAGENET["std"]) == (IMAGENET_MEAN, IMAGENET_STD)
