"""Parity as text: a table of figures, a table of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]


def tables(result: Result) -> Iterator[str]:
    """The lines to print of a result as benchmarks/parity.py writes it to JSON."""
    yield from _about(result)
    yield ""
    yield from aligned(_figures(result))
    yield from (f"  {row['title']}: {why}" for row in result["rows"] if (why := row["absent"] or row["failure"]))
    strangers = [row["title"] for row in result["rows"] if not row["same_checkpoint"]]
    yield from (f"  {title}: exported from another checkpoint than this one" for title in strangers)
    scored = [row for row in result["rows"] if "class_iou" in row]
    if scored:
        yield ""
        yield from aligned(_classes(result, scored))
        yield from (f"[{number}] {row['title']}" for number, row in enumerate(scored, start=1))


def aligned(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of one length as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join((row[0].ljust(len(first)), *others)).rstrip()


def _about(result: Result) -> Iterator[str]:
    reference, data, limits = result["reference"], result["data"], result["limits"]
    yield f"reference  {reference['file']}: {reference['network']}, torch float32 on {reference['device']}"
    annotated = f"{len(data['classes'])} classes" if data["classes"] else "not annotated, so agreement alone is judged"
    yield f"data       {data['name']}: {data['frames']} frames, {annotated}, sha256 {data['sha256'][:16]}"
    yield (
        f"limits     {limits['max_miou_drop']:g} points of mIoU by `{limits['metric']}`, {limits['min_agreement']:.6g} "
        f"of labels equal, {limits['max_clear_flips']:g} flipped that led by more than {result['clear_margin']:g}"
    )


def _figures(result: Result) -> list[list[str]]:
    """`>0.1` heads the share of the differing labels where the reference's class led by more than 0.1."""
    metric, margins = result["limits"]["metric"], [f"{margin:g}" for margin in result["margins"]]
    head = ["", "mIoU", "points", "accuracy", "equal", "differing", *(f">{margin}" for margin in margins), ""]
    lines = [head]
    figures = result["reference"]["figures"]
    if figures:
        scored = [_percent(figures["mean_iou"][metric]), "", _percent(figures["pixel_accuracy"])]
        lines.append(["reference", *scored, *[""] * (len(head) - 4)])
    return [*lines, *(_figures_of(row, metric, margins) for row in result["rows"])]


def _figures_of(row: Result, metric: str, margins: Sequence[str]) -> list[str]:
    if "agreement" not in row:
        return [row["title"], *[""] * (5 + len(margins)), "absent" if row["absent"] else "FAILED"]
    scored = ["", "", ""]
    if "mean_iou" in row:
        points = _points(row["points_lost"][metric])
        scored = [_percent(row["mean_iou"][metric]), points, _percent(row["pixel_accuracy"])]
    agreement = row["agreement"]
    equal = [f"{agreement['equal_share']:.4%}", str(agreement["differing"])]
    beyond = [f"{agreement['beyond'][margin]:.1%}" for margin in margins]
    return [row["title"], *scored, *equal, *beyond, "FAILED" if row["shortfalls"] else "passed"]


def _classes(result: Result, rows: Sequence[Result]) -> list[list[str]]:
    before = result["reference"]["figures"]["class_iou"]
    lines = [["IoU, points", "reference", *(f"[{number}]" for number in range(1, len(rows) + 1))]]
    for index, name in enumerate(result["data"]["classes"]):
        lines.append([name, _percent(before[index]), *(_points(row["class_points_lost"][index]) for row in rows)])
    return lines


def _points(lost: float) -> str:
    """Above the reference is positive; 0 - x, since -0.0 would be printed as such."""
    return f"{0 - lost:+.4f}"


def _percent(share: float) -> str:
    return f"{100 * share:.4f}"
