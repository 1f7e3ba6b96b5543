"""The programs in examples/, run as a reader would run them."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.video import open_source
from places import EXAMPLES

ON_CPU = ("file_to_file.py", "share_alarm.py", "torch_pipeline.py")
ON_GPU = ("nvdec_to_nvenc.py", "pycuda_pipeline.py")  # in tests/gpu/test_real_examples.py
DEMO = ("demo.py", "demo_training.py")  # each has a file of tests beside this one
CLIP = "test:46x65@12.5*8"


@pytest.fixture
def model(exported: Export) -> str:
    return str(exported("torchvision fcn"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    with open_source(CLIP) as source, fcnrt.video.VideoWriter(path, source.rate, source.size, exact=True) as writer:
        for frame in source:
            writer.write(frame.pixels, frame.time)
    return path


def run(example: str, *arguments: object) -> str:
    command = [sys.executable, EXAMPLES / example, *arguments]
    environment = {"PYTHONPATH": str(Path(fcnrt.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True, env=environment
    ).stdout


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_every_example_is_run_here_or_on_a_gpu() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(ON_CPU + ON_GPU + DEMO)


def test_file_to_file(model: str, clip: Path, tmp_path: Path) -> None:
    printed = run("file_to_file.py", model, clip, tmp_path / "overlay.mp4")
    assert "8 frames in " in printed and "write " in printed
    times = [time for time, _ in frames_of(tmp_path / "overlay.mp4")]
    assert times == pytest.approx([index / 12.5 for index in range(8)])


def test_share_alarm(model: str, clip: Path) -> None:
    with fcnrt.Segmenter(model) as segmenter, open_source(clip) as source:
        shares = [np.mean(segmenter(frame.pixels) == 0) for frame in source]
    limit = (min(shares) + max(shares)) / 2
    above = [False, *(share > limit for share in shares)]
    expected = [now for before, now in pairwise(above) if now != before]
    lines = run("share_alarm.py", model, clip, "class 0", limit).splitlines()
    assert expected and [("ALARM" in line) for line in lines] == expected


def test_torch_pipeline(model: str, clip: Path, tmp_path: Path) -> None:
    run("torch_pipeline.py", model, clip, "class 0", tmp_path / "keep.mkv")
    with fcnrt.Segmenter(model) as segmenter:
        for (_, given), (_, made) in zip(frames_of(clip), frames_of(tmp_path / "keep.mkv"), strict=True):
            grey = np.ptp(made[: given.shape[0], : given.shape[1]].astype(int), axis=2) < 24
            other = segmenter(given) != 0
            assert other.any() and grey[other].mean() > 0.9
