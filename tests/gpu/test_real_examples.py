"""The programs in examples/ that need a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fcnrt
from fcnrt.video import VideoWriter, open_source
from places import EXAMPLES

from .engines import Engine

pytestmark = pytest.mark.gpu
CLIP = "test:96x128@25*40"  # NVDEC takes nothing much smaller
NAME = "d2l fcn32s"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with open_source(CLIP) as source, VideoWriter(path, 25, source.size) as writer:
        for frame in source:
            writer.write(frame.pixels, frame.time)
    return path


def run(example: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / example), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(fcnrt.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def engine_file(engine: Engine) -> Path:
    with engine.open(NAME) as segmenter:
        return segmenter._path


def test_pycuda_pipeline(built: Engine, clip: Path) -> None:
    pytest.importorskip("pycuda.autoprimaryctx", exc_type=ImportError)
    printed = run("pycuda_pipeline.py", engine_file(built), clip)
    assert len(printed.splitlines()) == 40


def test_nvdec_to_nvenc(built: Engine, clip: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    run("nvdec_to_nvenc.py", engine_file(built), clip, tmp_path / "overlay.mp4")
    with open_source(tmp_path / "overlay.mp4") as made:
        times = [frame.time for frame in made]
    assert len(times) == 40 and times[-1] == pytest.approx(39 / 25, abs=1e-3)
