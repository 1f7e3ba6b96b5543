"""Threads that hand items to one another: a `Stage` pulls an iterator ahead of who takes from its `Channel`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

AGES_KEPT = 1000  # of the items that left a stage last


class Channel(Generic[T]):
    """A queue between two threads that knows its end, the error there, and how long each side waited.

    One thread gives and one takes; either may be interrupted anywhere, by Ctrl-C, and leaves it in order: threading's
    conditions and Python's other queues can be left locked for ever.

    Args:
        capacity: items held at most.
        drop_oldest: when full, drop the oldest item instead of waiting: the newest one wins.

    Attributes:
        dropped: items dropped so far.
        put_wait_s: seconds that the giving side has waited for space.
        get_wait_s: seconds that the taking side has waited for items.
    """

    def __init__(self, capacity: int, *, drop_oldest: bool = False) -> None:
        self.capacity, self.dropped = capacity, 0
        self.put_wait_s = self.get_wait_s = 0.0
        self._drop_oldest = drop_oldest
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        # Written in C, as the lock is. They hold one token at most, which says: look again.
        self._item_signal, self._space_signal = SimpleQueue[None](), SimpleQueue[None]()
        self._ended = self._cancelled = False
        self._error: BaseException | None = None

    @property
    def waiting(self) -> int:
        """Items in the queue now."""
        return len(self._items)

    def put(self, item: T) -> bool:
        """Add an item, waiting for space if need be; False when nobody takes any more."""
        while True:
            with self._lock:
                if self._cancelled:
                    return False
                if self._drop_oldest and len(self._items) == self.capacity:
                    self._items.popleft()
                    self.dropped += 1
                if len(self._items) < self.capacity:
                    self._items.append(item)
                    _notify(self._item_signal)
                    return True
            self.put_wait_s += _wait_for(self._space_signal)

    def end(self, error: BaseException | None = None) -> None:
        """Say that no item comes any more; who takes gets what is left, then the error."""
        with self._lock:
            self._ended, self._error = True, error
            _notify(self._item_signal)

    def cancel(self) -> None:
        """Say that no item is wanted any more: both sides stop, and what is left is let go."""
        with self._lock:
            self._cancelled = True
            self._items.clear()
            _notify(self._item_signal)
            _notify(self._space_signal)

    def __iter__(self) -> Iterator[T]:
        """Take items until the end; raises the error there."""
        while True:
            with self._lock:
                items = [self._items.popleft()] if self._items else []
                over = not items and (self._ended or self._cancelled)
                if items:
                    _notify(self._space_signal)
            yield from items
            if over:
                break
            if not items:
                self.get_wait_s += _wait_for(self._item_signal)
        if self._error is not None and not self._cancelled:
            raise self._error


def _notify(signal: SimpleQueue[None]) -> None:
    """Wake who waits for a signal, now or next."""
    if signal.empty():
        signal.put(None)


def _wait_for(signal: SimpleQueue[None]) -> float:
    """Wait for a signal; the seconds that took."""
    started = time.perf_counter()
    signal.get()
    return time.perf_counter() - started


class Stage(Generic[T]):
    """A thread that pulls `items` and puts them into `output`, until they end or nobody wants any more.

    Args:
        name: of the stage and its thread.
        items: what to pull; closed by the thread at its end, if it can be.
        source: the channel that `items` takes from, if any; cancelled at the end, so that the stage before ends too.
        output: where to put the items; None for a last stage.
        decoded_at: the time that an item's frame was decoded at, in seconds of `time.monotonic`.

    Attributes:
        count: items pulled so far.
        busy_s: seconds of work so far, without waiting for items or for space.
        ages_s: how old the last items were, from decoding until they left this stage.
        error: what ended it before its time, or None.
    """

    def __init__(
        self,
        name: str,
        items: Iterable[T],
        decoded_at: Callable[[T], float],
        *,
        source: Channel[Any] | None = None,
        output: Channel[T] | None = None,
    ) -> None:
        self.name, self.source, self.output = name, source, output
        self.count, self._pulling_s = 0, 0.0
        self.ages_s: deque[float] = deque(maxlen=AGES_KEPT)
        self.error: BaseException | None = None
        self._items, self._decoded_at = items, decoded_at
        self._thread = threading.Thread(target=self._run, name=f"fcnrt {name}", daemon=True)

    @property
    def busy_s(self) -> float:
        return max(0.0, self._pulling_s - (self.source.get_wait_s if self.source else 0.0))

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread to end; one that was never started has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._pull()
        # Interrupts of a simulated or real kind too: whoever takes from the channel must learn of the end.
        except BaseException as error:
            self.error = error
        finally:
            if self.source:
                self.source.cancel()
            if self.output:
                self.output.end(self.error)

    def _pull(self) -> None:
        iterator = iter(self._items)
        try:
            while True:
                started = time.perf_counter()
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                finally:
                    self._pulling_s += time.perf_counter() - started
                self.count += 1
                self.ages_s.append(time.monotonic() - self._decoded_at(item))
                if self.output and not self.output.put(item):
                    return
        finally:
            close = getattr(iterator, "close", None)
            if close:
                close()
