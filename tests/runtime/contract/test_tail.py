"""Tails: that of a graph, and whether scores of a size can be what a tail makes labels of."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from exports import Export
from fcnrt import ModelFileError
from fcnrt.backends import read_model
from fcnrt.contract.graph_tail import tail_of
from fcnrt.contract.tail import Tail, check_geometry

NAMES = "caffe fcn8s", "caffe fcn16s", "tramac fcn8s", "torchvision fcn", "d2l fcn32s", "pochih fcns"
FLAGS = {
    "free": (),
    "fixed": ("--batch", "1", "--height", "65", "--width", "97"),
    "fp16": ("--precision", "fp16"),
    "planes": ("--input", "nchw-float"),
    "scores": ("--output-type", "scores-float"),
}


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("name", NAMES)
def test_graphs_have_the_tail_that_their_files_tell_of(name: str, flags: str, exported: Export) -> None:
    path = Path(exported(name, *FLAGS[flags]))
    assert tail_of(onnx.load(path).graph) == read_model(path).spec.tail


@pytest.mark.parametrize(
    ("tail", "samples", "pixels", "fits"),
    [
        (Tail("deconv", 8, 31), 18, 64, True),
        (Tail("deconv", 8, 31), 10, 1, True),
        (Tail("deconv", 32, 19), 18, 64, False),
        (Tail("deconv", 4, 31), 18, 64, False),
        (Tail("deconv", 8, 131), 18, 64, False),
        (Tail("none", 0, 16), 96, 64, True),
        (Tail("none", 0, 16), 79, 64, False),
        (Tail("none", 0, 0), 352, 64, False),
        (Tail("half_pixel"), 9, 65, True),
        (Tail("align_corners"), 96, 64, False),
        (Tail("align_corners"), 0, 64, False),
    ],
)
def test_sizes_of_scores_and_frames(tail: Tail, samples: int, pixels: int, fits: bool) -> None:
    wide = {"deconv": 17, "none": pixels + tail.offset, "half_pixel": 8, "align_corners": 8}[tail.kind]
    for scores in [(1, 3, samples, wide), (1, 3, wide, samples)]:
        frames = (1, pixels, 64 if tail.kind != "none" else pixels)
        frames = frames if scores[2] == samples else (1, frames[2], frames[1])
        if fits:
            check_geometry(tail, 3, scores, frames, "net.onnx")
        else:
            with pytest.raises(ModelFileError, match=r"net\.onnx: says 3 classes .* its facts are another file's"):
                check_geometry(tail, 3, scores, frames, "net.onnx")


def test_another_count_of_classes() -> None:
    with pytest.raises(ModelFileError, match=r"says 4 classes .* scores are 3 x 9 x 9"):
        check_geometry(Tail("half_pixel"), 4, (1, 3, 9, 9), (1, 65, 66), "net.onnx")
