"""The part of the report about benchmarks/video_rate.py: a pipeline beside its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .markup import Markup, table

Result = Mapping[str, Any]

RATES = ("decode", "segment", "draw", "encode", "pipeline", "loop")
HEAD = ("network", "frame", *(f"{name}, per second" for name in RATES), "of its slowest stage", "times the plain loop")


def video_section(result: Result) -> Markup:
    """Rates of each stage alone, of all together, and of a plain loop."""
    return table(HEAD, (_cells(row) for row in result["rows"]))


def _cells(row: Result) -> list[str]:
    height, width = row["size"]
    rates = (f"{row['fps'][name]:.1f}" for name in RATES)
    return [row["network"], f"{height}x{width}", *rates, _ratio(row["of_slowest_stage"]), _ratio(row["of_loop"])]


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['p10']:.2f} to {ratio['p90']:.2f})"
