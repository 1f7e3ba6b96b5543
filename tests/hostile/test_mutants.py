"""Damaged model files, seeded: refused in one line, or they label as before. `make fuzz` tries thousands."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from exports import Export
from hostile.outcomes import FINE, labels_of, mutant, outcome

CASES = 300
NAMES = "tramac fcn8s", "caffe fcn32s", "d2l fcn32s"
MINUTES = float(os.environ.get("FUZZ_MINUTES", 0))

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs SIGALRM"),
    pytest.mark.filterwarnings("ignore:.*carries no digest:RuntimeWarning"),
]


class Trials:
    """Files of one network, damaged by seed.

    Args:
        model: the file as it was exported.
        target: where damaged ones are written.
    """

    def __init__(self, model: Path, target: Path):
        self._data, self._target = model.read_bytes(), target
        self._expected = labels_of(model)

    def run(self, seed: int) -> str:
        """The outcome of a seed, with the mutator's name where it is a fault."""
        name, data = mutant(self._data, seed)
        self._target.write_bytes(data)
        found = outcome(self._target, self._expected)
        return found if found in FINE else f"{found} ({name}, seed {seed})"


@pytest.fixture(params=NAMES)
def trials(request: pytest.FixtureRequest, exported: Export, tmp_path: Path) -> Trials:
    return Trials(exported(request.param), tmp_path / "mutant.onnx")


def test_damaged_files_are_refused_or_harmless(trials: Trials) -> None:
    found = Counter(trials.run(seed) for seed in range(CASES // len(NAMES)))
    assert set(found) <= set(FINE) and found["refused"] > found["harmless"], found


@pytest.mark.skipif(not MINUTES, reason="make fuzz MINUTES=15")
def test_thousands(trials: Trials, capsys: pytest.CaptureFixture[str]) -> None:
    end, random = time.monotonic() + 60 * MINUTES / len(NAMES), np.random.default_rng()
    found: Counter[str] = Counter()
    while time.monotonic() < end:
        found[trials.run(int(random.integers(1 << 31)))] += 1
    with capsys.disabled():
        print(f"\n{found.total()} damaged files: {dict(found)}")
    assert set(found) <= set(FINE)
