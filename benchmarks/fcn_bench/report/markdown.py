"""Tables as README and docs/ quote them: `report.py --markdown` prints them, a test holds the pages to the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Result = Mapping[str, Any]


def contest_tables(result: Result) -> Iterator[str]:
    """One table per frame size of a file of benchmarks/latency.py, lines without a newline after the last."""
    judged = {row["name"]: row["mean_iou"] for row in result.get("accuracy", {}).get("rows", ())}
    for made in result["sizes"]:
        size = f"{made['height']}x{made['width']}"
        head = (
            f"{result['model']['name']}, {size}",
            "precision",
            "ms",
            "p90",
            "times fcnrt (p10 to p90)",
            "equal labels",
            *(["mIoU"] if judged else []),
        )
        lines = [head, ("---",) * len(head), *(_cells(row, judged) for row in made["rows"])]
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def slip_table(result: Result) -> Iterator[str]:
    """The lines of the table of a file of benchmarks/five_lines.py."""
    yield "| frames prepared | mIoU | points lost | equal labels |"
    yield "| --- | --- | --- | --- |"
    for cells in slip_cells(result):
        yield f"| {' | '.join(cells)} |"


def slip_cells(result: Result) -> Iterator[tuple[str, ...]]:
    """A row for each slip: what was done, mean IoU in points, points lost, share of labels that stay."""
    best = result["rows"][0]["mean_iou"]
    for row in result["rows"]:
        points = (f"{100 * value:.1f}" for value in (row["mean_iou"], best - row["mean_iou"]))
        yield row["title"], *points, f"{row['equal_labels']:.1%}"


def _cells(row: Result, judged: Mapping[str, float]) -> tuple[str, ...]:
    ratio, equal = row["times_ours"], row["equal_to_reference"]
    return (
        row["title"],
        row["precision"],
        f"{row['median_ms']:.1f}",
        f"{row['p90_ms']:.1f}",
        f"{ratio['median']:.2f} ({ratio['p10']:.2f} to {ratio['p90']:.2f})" if ratio else "",
        "scores only" if equal is None else f"{equal:.4%}",
        *([f"{100 * judged[row['name']]:.2f}" if row["name"] in judged else ""] if judged else []),
    )
