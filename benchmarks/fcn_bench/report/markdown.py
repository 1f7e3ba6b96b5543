"""Latency tables as README quotes them: `report.py --markdown` prints them, a test holds README to the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Result = Mapping[str, Any]


def contest_tables(result: Result) -> Iterator[str]:
    """One table per frame size of a file of benchmarks/latency.py, lines without a newline after the last."""
    for made in result["sizes"]:
        size = f"{made['height']}x{made['width']}"
        head = (
            f"{result['model']['name']}, {size}",
            "precision",
            "ms",
            "p90",
            "times fcnrt (p10 to p90)",
            "equal labels",
        )
        lines = [head, ("---",) * len(head), *(_cells(row) for row in made["rows"])]
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Result) -> tuple[str, ...]:
    ratio, equal = row["times_ours"], row["equal_to_reference"]
    return (
        row["title"],
        row["precision"],
        f"{row['median_ms']:.1f}",
        f"{row['p90_ms']:.1f}",
        f"{ratio['median']:.2f} ({ratio['p10']:.2f} to {ratio['p90']:.2f})" if ratio else "",
        "scores only" if equal is None else f"{equal:.4%}",
    )
