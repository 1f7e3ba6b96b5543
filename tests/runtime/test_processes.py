"""Segmenters and other processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fcnrt
from exports import Export
from frames import frames_of

FRAME = frames_of(1, 37, 45)[0]


@pytest.fixture
def segment(exported: Export) -> fcnrt.Segmenter:
    return fcnrt.Segmenter(exported("tramac fcn8s"), device="cpu", threads=1, input_size=(64, 65))


def test_a_pickled_segmenter_is_opened_again(segment: fcnrt.Segmenter) -> None:
    again = pickle.loads(pickle.dumps(segment))
    assert np.array_equal(again(FRAME), segment(FRAME))
    segment.close()
    with pytest.raises(fcnrt.UsageError, match="closed"):
        pickle.dumps(segment)


def test_a_moved_model_is_told(segment: fcnrt.Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(segment._path.read_bytes())
    pickled = pickle.dumps(fcnrt.Segmenter(path, device="cpu"))
    path.unlink()
    with pytest.raises(fcnrt.ModelFileError, match="no such file"):
        pickle.loads(pickled)


def test_a_worker_of_multiprocessing_takes_it(segment: fcnrt.Segmenter) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.array_equal(pool.apply(segment, [FRAME]), segment(FRAME))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_the_child_is_told_and_the_parent_goes_on(segment: fcnrt.Segmenter) -> None:
    expected = [labels for _, labels in segment.stream([FRAME])]
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            list(segment.stream([FRAME]))
        except fcnrt.UsageError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, encoding="utf-8") as told:
        assert "was made before the process was forked" in told.read()
    assert np.array_equal(segment(FRAME), expected[0])


ENDING = """
import itertools, sys, threading
import numpy as np
import fcnrt

segment = fcnrt.Segmenter(sys.argv[1], device="cpu", threads=1, engine=sys.argv[2])
frame = np.zeros((64, 65, 3), np.uint8)
works = {
    "call": lambda: [segment(frame) for _ in itertools.count()],
    "stream": lambda: [None for _ in segment.stream(itertools.repeat(frame))],
    "at once": lambda: [None for _ in segment.stream(itertools.repeat(frame), depth=1)],
    "whole": lambda: [None for _ in segment.stream([frame] * 50)],
}
begun = threading.Event()
threading.Thread(target=lambda: (begun.set(), works[sys.argv[3]]()), daemon=sys.argv[3] != "whole").start()
begun.wait()
segment_again = fcnrt.Segmenter(sys.argv[1], device="cpu", threads=1)
segment_again(frame)
"""


@pytest.mark.parametrize("work", ["call", "stream", "at once", "whole"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_program_may_end_while_a_thread_labels(engine: str, work: str, exported: Export) -> None:
    command = [sys.executable, "-c", ENDING, exported("tramac fcn8s"), engine, work]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_results_lie_apart_from_frames(segment: fcnrt.Segmenter) -> None:
    frame = FRAME.copy()
    for targets, name in (({"out": frame[..., 0]}, "out"), ({"confidence": frame[..., 2]}, "confidence")):
        with pytest.raises(fcnrt.FrameError, match=f"^{name}: .* shares memory with `frames`"):
            segment(frame, **targets)
    assert np.array_equal(frame, FRAME)


def test_labels_and_confidence_lie_apart(segment: fcnrt.Segmenter) -> None:
    both = np.zeros((37, 45, 2), np.uint8)
    segment(FRAME, out=both[..., 0], confidence=both[..., 1])
    assert np.array_equal(both[..., 0], segment(FRAME)) and both[..., 1].any()
    with pytest.raises(fcnrt.FrameError, match="shares memory with `out`"):
        segment(FRAME, out=both[..., 0], confidence=both[..., 0])
