"""The report's pages on parity: how far each model is from its checkpoint, by class, and where it shows most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .markup import NOTHING, Markup, facts, joined, picture, spanning, table, tag

Result = Mapping[str, Any]

SHOWN = 2  # pictures of a row that are embedded, for each way to be worst
WORST = {"disagreement": "{:.4%} of the labels differ", "iou": "{:.4g} points of mIoU lost"}


def parity_section(result: Result, pictures: Path) -> Markup:
    """Everything in a file of benchmarks/parity.py but the machine.

    Args:
        result: the file's content.
        pictures: folder of the pictures that it names.
    """
    return joined((_about(result), _figures(result), _classes(result), *_worst(result, pictures)))


def _about(result: Result) -> Markup:
    reference, data, limits = result["reference"], result["data"], result["limits"]
    passed = (
        f"at most {limits['max_miou_drop']:g} points of mIoU lost (by the definition {limits['metric']}), "
        f"{limits['min_agreement']:.4%} of labels equal, {limits['max_clear_flips']:.4%} "
        f"flipped that led by more than {result['clear_margin']:g}"
    )
    return facts(
        (
            ("reference", f"{reference['file']}: {reference['network']}, torch float32, {reference['hardware']}"),
            ("checkpoint sha256", tag("code", reference["sha256"][:16])),
            ("data", f"{data['name']}, {data['frames']} frames"),
            ("data sha256", tag("code", data["sha256"][:16])),
            ("passes with", passed),
        )
    )


def _figures(result: Result) -> Markup:
    metric, margins = result["limits"]["metric"], [f"{margin:g}" for margin in result["margins"]]
    head = ["", "precision", f"mIoU ({metric})", "points", "pixel accuracy", "equal labels", "differing"]
    head += [*(f"of them led by > {margin}" for margin in margins), "verdict"]
    figures = result["reference"]["figures"]
    rows: list[list[Any]] = []
    if figures:
        scored = [_percent(figures["mean_iou"][metric]), "", _percent(figures["pixel_accuracy"])]
        rows.append(["the checkpoint in torch", "fp32", *scored, *[""] * (3 + len(margins))])
    rows += [_figures_of(row, metric, margins) for row in result["rows"]]
    return table(head, rows)


def _figures_of(row: Result, metric: str, margins: list[str]) -> list[Any]:
    if "agreement" not in row:
        why = f"not run: {row['absent']}" if row["absent"] else f"failed: {row['failure']}"
        return [row["title"], row["precision"], spanning(6 + len(margins), why)]
    agreement, scored = row["agreement"], [NOTHING] * 3
    if "mean_iou" in row:
        scored = [
            _percent(row["mean_iou"][metric]),
            _points(row["points_lost"][metric]),
            _percent(row["pixel_accuracy"]),
        ]
    equal = [f"{agreement['equal_share']:.5%}", f"{agreement['differing']:,} of {agreement['pixels']:,}"]
    beyond = [f"{agreement['beyond'][margin]:.1%}" for margin in margins]
    verdict = tag("strong", "failed: ", "; ".join(row["shortfalls"])) if row["shortfalls"] else "passed"
    return [row["title"], row["precision"], *scored, *equal, *beyond, verdict]


def _classes(result: Result) -> Markup | None:
    scored = [row for row in result["rows"] if "class_iou" in row]
    if not scored:
        return None
    before = result["reference"]["figures"]["class_iou"]
    head = ["IoU", "checkpoint", *(f"{row['title']}, points" for row in scored)]
    rows = [
        [name, _percent(before[index]), *(_points(row["class_points_lost"][index]) for row in scored)]
        for index, name in enumerate(result["data"]["classes"])
    ]
    return tag("details", tag("summary", "By class"), table(head, rows))


def _worst(result: Result, folder: Path) -> Iterator[Markup]:
    """Frame, truth, checkpoint, model and difference of each model's worst frames."""
    for row in result["rows"]:
        shown = [part for by, text in WORST.items() for part in _pictures(row, by, text, folder)]
        if shown:
            yield tag("details", tag("summary", f"Worst frames of {row['title']}"), *shown)


def _pictures(row: Result, by: str, text: str, folder: Path) -> Iterator[Markup]:
    for case in row.get("worst", {}).get(by, ())[:SHOWN]:
        words = f"{case['frame']}: {text.format(case[by])}"
        file = folder / Path(case["picture"]).name  # whatever the file says, nothing outside its folder is shown
        drawn = picture(file, words) if file.is_file() else None  # results may be passed on without pictures
        yield tag("figure", drawn, tag("figcaption", words))


def _points(lost: float | None) -> str:
    """Above the reference is positive; 0 - x, since -0.0 would be printed as such."""
    return NOTHING if lost is None else f"{0 - lost:+.4f}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.3f}"
