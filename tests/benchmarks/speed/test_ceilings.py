"""What the machine does at best: measured within seconds, whatever it lacks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest

from fcn_bench.speed import ceilings


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "LARGEST_SIDE", {"cpu": 64})
    monkeypatch.setattr(ceilings, "COPY_NBYTES", 1 << 16)


def test_with_and_without_torch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ceilings, "EMULATED", 0)  # whatever this processor has
    rates = ceilings.ceilings("cpu", threads=1)
    assert rates.keys() == {"fp32", "bf16", "copy"} and min(rates.values()) > 0
    said = capsys.readouterr().err
    assert "matrix products in bf16" in said and "at best: copies" in said
    monkeypatch.setitem(sys.modules, "torch", None)
    rates = ceilings.ceilings("cpu", threads=1)
    assert rates.keys() == {"fp32", "copy"} and min(rates.values()) > 0
    assert ceilings.ceilings("cuda", threads=1) == {}


def test_what_the_processor_emulates_is_no_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"fp32": 100.0, "bf16": 0.12}
    monkeypatch.setattr(ceilings, "_product_rate", lambda precision, device, multiply: rates[precision])
    assert ceilings.ceilings("cpu", threads=1).keys() == {"fp32", "copy"}
    rates["bf16"] = 60.0
    assert ceilings.ceilings("cpu", threads=1)["bf16"] == 60.0


def test_a_slow_product_is_measured_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "LARGEST_SIDE", {"cpu": 4096})
    now, sides = [0.0], list[int]()

    def multiply(side: int) -> Callable[[], object]:
        def run() -> None:
            sides.append(side)
            now[0] += 1e-8 * side**3  # 0.2 GFLOP/s: the largest would take 11 minutes

        return run

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    assert ceilings._product_rate("bf16", "cpu", multiply) == pytest.approx(0.2)
    assert max(sides) == 256 and now[0] < 10


def test_a_ceiling_is_the_best_of_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 5.0, 10.0, 12.0, 20.0, 29.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    runs: list[int] = []
    assert ceilings.best_seconds(lambda: runs.append(0), repeats=3, limit_s=100) == 2.0
    assert len(runs) == 4  # one to warm up
