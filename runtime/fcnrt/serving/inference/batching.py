"""Frames of many requests through one Segmenter: in the order in which they come, those of one size together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from ...contract.types import Array, UInt8Array
from ...errors import UsageError
from ...segmenter import Segmenter

Labels = Future[Array]  # (N, H, W)


def usual_batch(device: str) -> int:
    """Frames that pay together on a device: on a CPU two are twice the work, and the first would wait for the other."""
    return 1 if device == "cpu" else 8


class _Order(NamedTuple):
    frames: UInt8Array  # (N, H, W, 3)
    labels: Labels


class Batcher:
    """Labels frames in a thread of its own; nothing waits for a batch to become full.

    What has come while the network worked goes through it together, as far as it is of one size; where the engine does
    not take so many, one request after the other. Who bounds the requests bounds the queue.

    Args:
        segmenter: for this alone from now on.
        most: frames of several requests that go together.
        observe: is called with the frames and seconds of each run of the network.
    """

    def __init__(self, segmenter: Segmenter, most: int, observe: Callable[[int, float], object]) -> None:
        self._segmenter, self._most, self._observe = segmenter, most, observe
        self._orders: deque[_Order] = deque()
        self._change, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="fcnrt batches", daemon=True)
        self._thread.start()

    def submit(self, frames: UInt8Array) -> Labels:
        """Have frames (N, H, W, 3) labelled: their labels, (N, H, W), or why there are none; may be cancelled."""
        order = _Order(frames, Future())
        with self._change:
            if self._closed:
                raise UsageError("the server ends")
            self._orders.append(order)
            self._change.notify()
        return order.labels

    @property
    def waiting(self) -> int:
        """Requests that the network has not begun with."""
        return len(self._orders)

    @property
    def works(self) -> bool:
        """Whether anything that is submitted will be labelled."""
        return self._thread.is_alive() and not self._closed

    def close(self) -> None:
        """Finish what was submitted; may be called twice."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while orders := self._next():
            wanted = [order for order in orders if order.labels.set_running_or_notify_cancel()]
            if wanted:
                self._label(wanted)

    def _next(self) -> list[_Order]:
        """The oldest order, and others that go with it; none after the end."""
        with self._change:
            self._change.wait_for(lambda: self._orders or self._closed)
            if not self._orders:
                return []
            return self._together()

    def _together(self) -> list[_Order]:
        chosen, left, count = list[_Order](), deque[_Order](), 0
        for order in self._orders:
            alike = not chosen or order.frames.shape[1:] == chosen[0].frames.shape[1:]
            if not chosen or (alike and count + len(order.frames) <= self._most):
                chosen.append(order)
                count += len(order.frames)
            else:
                left.append(order)
        self._orders = left
        return chosen

    def _label(self, orders: Sequence[_Order]) -> None:
        try:
            frames = orders[0].frames if len(orders) == 1 else np.concatenate([order.frames for order in orders])
            started = time.perf_counter()
            labels = self._segmenter(frames)
            self._observe(len(frames), time.perf_counter() - started)
        except Exception as error:  # whatever it is, others still wait for their labels
            self._fail(orders, error)
            return
        ends = np.cumsum([len(order.frames) for order in orders])
        for order, part in zip(orders, np.split(labels, ends[:-1]), strict=True):
            order.labels.set_result(part)

    def _fail(self, orders: Sequence[_Order], error: Exception) -> None:
        """Tell what was wrong; of several together each is tried alone, so that it is told to the right one."""
        if len(orders) == 1:
            orders[0].labels.set_exception(error)
            return
        for order in orders:
            self._label([order])
