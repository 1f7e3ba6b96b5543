"""Which frames go through the network together, and that one request's fault is its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fcnrt.errors import BackendError, UsageError
from fcnrt.serving.inference.batching import Batcher, usual_batch
from stand_ins import HeldSegmenter

PATIENCE_S = 60


def frames(count: int, value: int, size: tuple[int, int] = (3, 5)) -> Any:
    return np.full((count, *size, 3), value, np.uint8)


@pytest.fixture
def segmenter() -> HeldSegmenter:
    return HeldSegmenter()


@pytest.fixture
def batcher(segmenter: HeldSegmenter) -> Iterator[Batcher]:
    """One whose network is busy until `segmenter.go` is set."""
    made = Batcher(segmenter, 4, lambda *run: segmenter.observed.append(run))
    made.submit(frames(1, 0))
    assert segmenter.began.wait(PATIENCE_S)
    yield made
    segmenter.go.set()
    made.close()


def labels_of(order: Any) -> int:
    """The one label of an order's frames."""
    (label,) = np.unique(order.result(PATIENCE_S))
    return int(label)


def test_what_waits_goes_together_by_size_and_in_order(segmenter: HeldSegmenter, batcher: Batcher) -> None:
    small = [batcher.submit(frames(1, value)) for value in (1, 2)]
    large = batcher.submit(frames(1, 3, (6, 7)))
    more = [batcher.submit(frames(count, value)) for count, value in ((2, 4), (1, 5), (9, 6))]
    assert batcher.waiting == 6
    segmenter.go.set()
    assert [labels_of(order) for order in (*small, large, *more)] == [1, 2, 3, 4, 5, 6]
    assert [order.result().shape for order in more] == [(2, 3, 5), (1, 3, 5), (9, 3, 5)]
    sizes = [(1, 3, 5), (4, 3, 5), (1, 6, 7), (1, 3, 5), (9, 3, 5)]
    assert segmenter.shapes == sizes and [count for count, _ in segmenter.observed] == [size[0] for size in sizes]


def test_on_a_cpu_frames_go_one_by_one_unless_that_is_asked() -> None:
    assert usual_batch("cpu") == 1 and usual_batch("cuda:0") > 1


def test_who_has_left_is_not_worked_for(segmenter: HeldSegmenter, batcher: Batcher) -> None:
    left, stays = batcher.submit(frames(1, 1)), batcher.submit(frames(1, 2))
    assert left.cancel()
    segmenter.go.set()
    assert labels_of(stays) == 2 and segmenter.shapes == [(1, 3, 5)] * 2


def test_a_fault_is_told_to_whom_it_belongs(segmenter: HeldSegmenter, batcher: Batcher) -> None:
    good, bad = batcher.submit(frames(1, 1)), batcher.submit(frames(1, HeldSegmenter.BAD))
    segmenter.go.set()
    assert labels_of(good) == 1
    with pytest.raises(BackendError):
        bad.result(PATIENCE_S)
    assert labels_of(batcher.submit(frames(1, 3))) == 3 and batcher.works


def test_the_end_finishes_what_was_begun(segmenter: HeldSegmenter, batcher: Batcher) -> None:
    order = batcher.submit(frames(1, 1))
    closing = threading.Thread(target=batcher.close)
    closing.start()
    segmenter.go.set()
    assert labels_of(order) == 1
    closing.join(PATIENCE_S)
    assert not batcher.works
    with pytest.raises(UsageError, match="ends"):
        batcher.submit(frames(1, 1))
