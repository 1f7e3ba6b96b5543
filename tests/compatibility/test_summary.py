"""One failure ends nothing, and is told at the end and by the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

import extent
import pythons
import report
import runtimes
from network_names import NAMES
from places import ROOT
from processes import run
from report import BEGIN, END
from runtimes import Outcome, Runtime
from summary import Row, tell, tried


def test_what_an_attempt_raises_is_its_row() -> None:
    def broken() -> Row:
        raise OSError("no room\nmore")

    assert tried("x", broken) == Row("x", "failed: OSError: no room", True)
    assert tried("x", lambda: Row("x", "exact")) == Row("x", "exact")


def test_all_rows_are_told_and_one_failure_is_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell({"pythons": [Row("3.12", "9 passed"), Row("3.14", "not found here")]}) == 0
    assert tell({"pythons": [Row("3.12", "9 passed")], "runtimes": [Row("longer", "1 wrong", True)]}) == 1
    told = capsys.readouterr().out
    assert "2 tried, 0 failed" in told and told.endswith("2 tried, 1 failed\n")
    assert "          3.12    9 passed\n" in told and "  FAILED  longer  1 wrong\n" in told


@pytest.mark.parametrize(
    ("told", "failed"),
    [
        ("9 passed, 0 failed, 1 skipped", False),
        ("9 passed, 1 failed, 1 skipped", True),
        ("9 passed, 10 failed, 1 skipped", True),
        ("failed to install: no wheel", True),
        ("failed to run", True),
        ("not found here", False),
    ],
)
def test_a_python_fails_where_tests_do(told: str, failed: bool) -> None:
    assert pythons.has_failed(told) == failed


def test_what_some_are_is_there() -> None:
    assert all((ROOT / path).exists() for tests in pythons.TESTS.values() for path in tests)
    assert set(runtimes.SOME) < set(NAMES)


def test_a_python_that_fails_is_not_the_end_of_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def outcome(python: str, version: str, choice: str) -> tuple[str, ...]:
        if version == "3.10":
            raise OSError("no room")
        return ("9 passed, 0 failed, 0 skipped", "2.5")

    page = tmp_path / "pythons.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nmore\n")
    for name, value in {
        "PYTHONS": ("3.10", "3.12", "3.14"),
        "ROOT": tmp_path,
        "PAGE": page,
        "MODELS": tmp_path / "models",
        "tested": lambda *arguments: "5 passed, 0 failed, 0 skipped",
        "found": lambda version: None if version == "3.14" else "python",
        "outcome": outcome,
    }.items():
        monkeypatch.setattr(pythons, name, value)
    rows = pythons.main([])
    assert [(row.name, row.failed) for row in rows] == [
        ("this Python", False),
        ("3.10", True),
        ("3.12", False),
        ("3.14", False),
    ]
    written = page.read_text()
    assert "| 3.12 | 9 passed, 0 failed, 0 skipped | 2.5 |" in written and "| 3.14 | not found here |" in written
    assert written.startswith("# Title\n") and written.endswith("more\n") and "some of the tests" in written
    assert "old" not in written and "| 3.10 | failed: OSError: no room |" in written


def test_labels_that_are_wrong_fail_a_runtime_that_is_not_known_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Outcome("A 1", "3.12", {"fp32, a": {"1x1x1": 0.5}, "fp32, b": {"1x1x1": "no"}, "fp32, c": {"1x1x1": 1.0}})
    assert report.faults(wrong) == 2 and report.told(Outcome("A", reason="no wheel")) == "not run: no wheel"
    monkeypatch.setattr(runtimes, "run", lambda runtime: wrong)
    monkeypatch.setattr(runtimes, "keep", lambda runtime, outcome: None)
    told = "1 exact, 1 wrong, 1 refused"
    assert runtimes.row(Runtime("A", "onnxruntime", ("a",))) == Row("a", told, True)
    assert runtimes.row(Runtime("A", "onnxruntime", ("a",), faulty=True)) == Row("a", f"{told} (known)")


def test_an_unknown_selection_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(extent.VARIABLE, "many")
    done = run(runtimes.HERE, "pythons", folder=runtimes.HERE)
    assert done.returncode == 1 and "expected some or all, got 'many'" in done.stderr
    assert "Traceback" not in done.stderr
