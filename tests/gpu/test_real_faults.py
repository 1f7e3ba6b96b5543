"""What goes wrong on a real GPU is told in one line, and the next frame is right again."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fcnrt
from fcnrt.contract.seal import sealed_content
from fcnrt.gpu.cuda import Gpu, Memory
from frames import frames_of

from .agreement import assert_agree, case_of
from .engines import Engine, TensorRt

pytestmark = pytest.mark.gpu
NAME = "d2l fcn32s"
LARGEST_PIECE, SMALLEST_PIECE = 1 << 30, 512  # bytes


@contextlib.contextmanager
def no_memory_left(gpu: Gpu) -> Iterator[None]:
    """All of the GPU's memory is somebody else's."""
    gc.collect()  # what is forgotten must not be given back in the meantime
    pieces, nbytes = [], LARGEST_PIECE
    try:
        while nbytes >= SMALLEST_PIECE:
            try:
                pieces.append(Memory(gpu, nbytes))
            except fcnrt.BackendError:
                nbytes //= 2
        yield
    finally:
        for piece in pieces:
            piece.close()


def test_frames_beyond_the_profile(built: Engine) -> None:
    case = case_of(built.machine.models(NAME), frames_of(1, 60, 71))
    with built.open(NAME) as segment:
        text = (
            r"1x32x32 to 3x130x140 \(profile of .*\.engine\), got 1x60x141; rebuild with --min 1x32x32 --max 3x130x141"
        )
        with pytest.raises(fcnrt.FrameError, match=text):
            segment(frames_of(1, 60, 141))
        assert_agree(segment(case.frames), case)


def test_engine_for_another_gpu(built: TensorRt, gpu: Gpu, tmp_path: Path) -> None:
    path = built.file(NAME)
    engine, sidecar = tmp_path / path.name, tmp_path / f"{path.name}.json"
    shutil.copy(path, engine)
    facts = json.loads((path.parent / sidecar.name).read_text(encoding="utf-8"))
    facts["engine"]["sm"] = [other := 75 if gpu.sm != 75 else 80]
    sidecar.write_text(json.dumps(sealed_content(facts)), encoding="utf-8")
    text = f"built for compute capability {other / 10}, {gpu.name} has {gpu.capability}; build it again"
    with pytest.raises(fcnrt.ModelFileError, match=re.escape(text)):
        fcnrt.Segmenter(engine, device="cuda")


def test_out_of_memory_is_told_and_survived(any_engine: Engine, gpu: Gpu) -> None:
    model, large = any_engine.machine.models(NAME), frames_of(3, 130, 140)
    with any_engine.open(NAME) as segment:
        segment(np.zeros((1, 40, 50, 3), np.uint8))
        with no_memory_left(gpu), pytest.raises(fcnrt.BackendError, match="cuda:0: out of memory") as caught:
            segment(large)
        assert "\n" not in str(caught.value)
        case = case_of(model, large)
        assert_agree(segment(large), case)


def test_out_of_memory_while_loading_is_told_and_survived(any_engine: Engine, gpu: Gpu) -> None:
    any_engine.open(NAME).close()  # builds it, and loads the libraries
    with no_memory_left(gpu), pytest.raises(fcnrt.BackendError, match=r"(?i)out.?of.?memory") as caught:
        any_engine.open(NAME)
    assert "\n" not in str(caught.value)
    any_engine.open(NAME).close()
