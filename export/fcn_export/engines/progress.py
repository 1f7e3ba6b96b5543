"""How far a build is, and how it is stopped: a progress bar and Ctrl-C, by TensorRT's IProgressMonitor."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from fcnrt.contract.interrupts import INTERRUPTS, interrupts_handled_by


@contextlib.contextmanager
def cancellable(cleanly: bool) -> Iterator[Callable[[], bool]]:
    """While the block runs, Ctrl-C and SIGTERM do not interrupt Python, but are told by the function that it gets.

    Python code that TensorRT calls must not raise: it would be lost, or end the process. And the main thread may run
    no Python for minutes, but the C signal handler writes to the wakeup descriptor at once, which any thread can read.
    Only the main thread may use this.

    Args:
        cleanly: whether somebody asks the function. Otherwise a signal ends the process at once; nothing is
            half-written, because files are written afterwards.

    Raises:
        KeyboardInterrupt: at the end of the block, when a signal came.
    """
    reader, writer = os.pipe()
    for descriptor in (reader, writer):
        os.set_blocking(descriptor, False)
    came = threading.Event()

    def cancelled() -> bool:
        with contextlib.suppress(BlockingIOError):
            if set(os.read(reader, 64)) & set(INTERRUPTS):
                came.set()
        return came.is_set()

    handler = (lambda number, frame: None) if cleanly else signal.SIG_DFL
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        with interrupts_handled_by(handler):
            yield cancelled
    finally:
        signal.set_wakeup_fd(wakeup)
        interrupted = cancelled()
        os.close(reader)
        os.close(writer)
        if interrupted:
            raise KeyboardInterrupt


def monitor_of(trt: Any, cancelled: Callable[[], bool], show: Callable[[float, str], None]) -> Any:
    """A progress monitor that reports to `show` and stops the build once `cancelled()` is true.

    Args:
        trt: a TensorRT module that has IProgressMonitor.
        show: called with the share that is done, 0 to 1, and the name of the phase.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases: dict[str, _Phase] = {}
            self._lock = threading.Lock()  # TensorRT calls from several threads

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                phase = self._phases[phase_name] = _Phase(self._phases.get(parent_phase or ""), num_steps)
                show(phase.share(), phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                phase = self._phases.get(phase_name)
                if phase is not None:
                    phase.done = step + 1
                    show(phase.share(), phase_name)
            return not cancelled()

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._phases.pop(phase_name, None)

    return Monitor()


class _Phase:
    """A phase of the build; each of its steps may hold a phase of its own."""

    def __init__(self, parent: _Phase | None, steps: int):
        self._parent, self._steps, self.done = parent, max(steps, 1), 0

    def share(self, inner: float = 0.0) -> float:
        """How much of the whole build is done, when this phase's running step is done to the share `inner`."""
        own = min((self.done + inner) / self._steps, 1.0)
        return own if self._parent is None else self._parent.share(own)


@contextlib.contextmanager
def progress_bar(wanted: bool) -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr, where that is a terminal and tqdm is installed; the function moves it, forwards only."""
    bar = _bar() if wanted and sys.stderr.isatty() else None
    shown = ""

    def show(share: float, phase: str) -> None:
        nonlocal shown
        with contextlib.suppress(OSError, ValueError):  # a closed terminal is no reason to stop a build
            if bar is not None:
                bar.update(max(100 * share - bar.n, 0))
                bar.set_description_str(phase[:30], refresh=phase != shown)
                shown = phase

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _bar() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=100, bar_format="{desc:30} {percentage:3.0f}%|{bar}| {elapsed}", leave=False)
