"""How far a build is, how it is stopped, and what its log says of a failure."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from fcn_export.engines.builder import first_cause
from fcn_export.engines.progress import cancellable, monitor_of, progress_bar
from simulated.host import MakeHost


def test_a_signal_is_told_to_any_thread_and_raised_at_the_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = threading.Event()
    with pytest.raises(KeyboardInterrupt), cancellable(cleanly=True) as cancelled:
        assert not cancelled()
        watcher = threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(cancelled, True)] and seen.set())
        watcher.start()
        os.kill(os.getpid(), signal.SIGINT)
        watcher.join(10)
        assert seen.is_set() and cancelled()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_replaces_the_error_that_it_caused() -> None:
    with pytest.raises(KeyboardInterrupt), cancellable(cleanly=True):
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("Build canceled by user")


def test_without_a_signal_nothing_is_raised_and_errors_pass() -> None:
    with cancellable(cleanly=True) as cancelled:
        assert not cancelled()
    with pytest.raises(ValueError), cancellable(cleanly=True):
        raise ValueError


def test_where_nobody_asks_a_signal_ends_the_process() -> None:
    with cancellable(cleanly=False):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL is signal.getsignal(signal.SIGTERM)


def test_a_background_job_goes_on_ignoring_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with cancellable(cleanly=True):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_nested_phases_add_up(make_host: MakeHost) -> None:
    shown: list[tuple[float, str]] = []
    monitor = monitor_of(make_host("10.9").trt.module, lambda: False, lambda share, phase: shown.append((share, phase)))
    monitor.phase_start("build", None, 4)
    assert monitor.step_complete("build", 0)
    monitor.phase_start("tactics", "build", 2)
    assert monitor.step_complete("tactics", 0) and monitor.step_complete("never started", 3)
    monitor.phase_finish("tactics")
    assert monitor.step_complete("build", 3)
    assert shown == [(0, "build"), (1 / 4, "build"), (1 / 4, "tactics"), (3 / 8, "tactics"), (1, "build")]


def test_a_cancelled_build_is_stopped_at_its_next_step(make_host: MakeHost) -> None:
    monitor = monitor_of(make_host("11.0").trt.module, lambda: True, lambda share, phase: None)
    monitor.phase_start("build", None, 0)
    assert monitor.step_complete("build", 0) is False


def test_progress_bar_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_bar(True) as show:
        show(0.5, "Building engine")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar(True) as show:
        show(0.5, "Timing tactics")
        show(0.25, "Another phase")
    printed = capsys.readouterr().err
    assert "Timing tactics" in printed and "Another phase" in printed and "50%" in printed and "25%" not in printed
    with progress_bar(False) as show:
        show(0.5, "Building engine")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([], "it gives no reason"),
        (
            ["IBuilder::build: Error Code 4: API Usage Error (No profile. In validate at /_src/y.cpp:40)"],
            "API Usage Error (No profile.)",
        ),
        (
            ["10: [optimizer.cpp::computeCosts::3869] Error Code 10: Internal Error (No node)", "2: [b.cpp::f::1] x"],
            "Internal Error (No node), and 1 more, see --verbose",
        ),
        (["4: [network.cpp::validate::3000] Error Code 4: one\n  and two"], "one and two"),
        (["Myelin ([tactic.cpp:16: run] first; [tactic.cpp:26: run] second)"], "Myelin (first; second)"),
    ],
)
def test_cause_is_the_first_error_without_places(errors: list[str], expected: str) -> None:
    assert first_cause(errors) == expected
