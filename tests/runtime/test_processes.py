"""Segmenters and other processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
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


def test_labels_and_confidence_lie_apart(segment: fcnrt.Segmenter) -> None:
    both = np.zeros((37, 45, 2), np.uint8)
    segment(FRAME, out=both[..., 0], confidence=both[..., 1])
    assert np.array_equal(both[..., 0], segment(FRAME)) and both[..., 1].any()
    with pytest.raises(fcnrt.FrameError, match="shares memory with `out`"):
        segment(FRAME, out=both[..., 0], confidence=both[..., 0])
