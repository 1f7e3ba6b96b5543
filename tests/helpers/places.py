"""Where things lie in the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
HELPERS = ROOT / "tests/helpers"
SIMULATED = ROOT / "tests"  # the folder of the package `simulated`
