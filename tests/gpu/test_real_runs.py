"""Long runs: threads, shapes without end, memory that stays flat, and CUDA graphs that change nothing."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fcnrt
from fcnrt.gpu import cuda
from fcnrt.gpu.cuda import Gpu
from frames import frames_of

from .agreement import Case, assert_agree, case_of, labels_on_cpu
from .caller import Caller, Interface
from .engines import LARGEST, SMALLEST, Engine

pytestmark = pytest.mark.gpu
NAME = "d2l fcn32s"
THREADS, ROUNDS = 16, 25
RANDOM_SHAPES = 1_000
FRAMES = 10_000  # half of them in host memory, half on the device
WARM_UP = 3  # rounds after which engines have all the memory that they keep for later
IN_A_ROW = 8  # frames of one shape: enough to capture its graph for each slot, and to launch one
LEAK = 4 << 20  # bytes: two of the blocks that the driver hands out memory from
TABLE_SHAPES = 12  # more than are kept, so that everything per shape is made and forgotten again and again


def test_clones_in_threads(any_engine: Engine) -> None:
    model = any_engine.machine.models(NAME)
    cases = [case_of(model, frames_of(1, 48 + seed % 3, 56, seed)) for seed in range(THREADS)]
    together = threading.Barrier(THREADS)

    def work(segment: fcnrt.Segmenter, case: Case) -> None:
        together.wait()
        for _ in range(ROUNDS):
            assert_agree(segment(case.frames), case)

    with any_engine.open(NAME) as first, ThreadPoolExecutor(THREADS) as pool:
        clones = [first.clone() for _ in cases]
        for done in [pool.submit(work, *pair) for pair in zip(clones, cases, strict=True)]:
            done.result()
        for clone in clones:
            clone.close()


def test_random_shapes(engine: Engine) -> None:
    name, chance = "caffe fcn8s", np.random.default_rng(0)
    model = engine.machine.models(name)
    shapes = chance.integers(SMALLEST, np.array(LARGEST) + 1, (RANDOM_SHAPES, 3)).tolist()
    equal = pixels = 0
    with engine.open(name) as segment:
        for seed, shape in enumerate(shapes):
            frames = frames_of(*shape, seed=seed)
            labels, expected = segment(frames), labels_on_cpu(model, frames)
            assert labels.shape == expected.shape
            assert (labels == expected).mean() >= 0.99, f"frames of shape {shape}"
            equal, pixels = equal + int((labels == expected).sum()), pixels + labels.size
    assert equal >= 0.9995 * pixels


def test_memory_stays_flat(engine: Engine, gpu: Gpu) -> None:
    library = Interface(gpu)
    caller = Caller(gpu, library.new_stream())
    batches = [frames_of(1 + side % 2, 40 + 7 * side, 130 - 7 * side, side) for side in range(TABLE_SHAPES)]
    on_device = [library.array(batch) for batch in batches]
    rounds = max(1, FRAMES // 2 // (TABLE_SHAPES * IN_A_ROW))
    with engine.open(NAME) as segment:
        for _ in range(WARM_UP):
            one_round(segment, batches, on_device, caller)
        before = free_memory(gpu)
        for _ in range(rounds):
            one_round(segment, batches, on_device, caller)
        grown = before - free_memory(gpu)
        assert grown < LEAK, f"{grown / 2**20:.1f} MiB more after {rounds} rounds"


def one_round(segment: fcnrt.Segmenter, batches: list[np.ndarray], on_device: list[Any], caller: Caller) -> None:
    """All shapes in turn, from the host and on the device."""
    for _ in segment.stream(in_a_row(batches)):
        pass
    for frames in in_a_row(on_device):
        segment(frames, stream=caller.stream)


def in_a_row(things: list[Any]) -> Iterator[Any]:
    return itertools.chain.from_iterable(itertools.repeat(thing, IN_A_ROW) for thing in things)


def free_memory(gpu: Gpu) -> int:
    gc.collect()
    gpu.synchronize()
    return gpu.memory_info()[0]


def test_graphs_change_nothing(built: Engine, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[cuda.Graph] = []
    launch = cuda.Graph.launch

    def noted(graph: cuda.Graph, stream: cuda.Stream) -> None:
        launched.append(graph)
        launch(graph, stream)

    monkeypatch.setattr(cuda.Graph, "launch", noted)
    shapes = [(1, 65, 97), (3, 40, 51), (1, 65, 97), (3, 40, 51)]
    frames = [frames_of(*shape, seed=seed) for seed, shape in enumerate(shapes * 9)]
    with built.open(NAME, "fp16", graphs=False) as plain:
        expected = [(plain(batch), plain.scores(batch)) for batch in frames]
    assert not launched
    with built.open(NAME, "fp16") as segment:
        for batch, (labels, scores) in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(segment(batch), labels)
            np.testing.assert_array_equal(segment.scores(batch), scores)
    assert len(launched) > len(frames), "hardly a frame went through a graph"
