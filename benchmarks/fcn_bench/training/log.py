"""The curves of a training run: a table as CSV, a picture as PNG."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from fcnrt.contract.files import atomic_path

Row = dict[str, float]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write one line per epoch under the names of the first one's columns; the file appears whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)


def write_png(path: Path, rows: Sequence[Row], title: str) -> None:
    """Draw loss and learning rate, and mIoU and pixel accuracy, over the epochs.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], color="tab:blue")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    rate = left.twinx()
    rate.plot(epochs, [row["learning_rate"] for row in rows], color="tab:gray", linestyle=":")
    rate.set(ylabel="learning rate (dotted)", ylim=(0, None))
    for name, label in (("miou", "mIoU"), ("pixel_accuracy", "pixel accuracy")):
        right.plot(epochs, [row[name] for row in rows], label=label)
    right.set(xlabel="epoch", ylabel="on all validation frames", ylim=(0, 1))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there are no halves of epochs
    right.legend(loc="lower right")
    right.grid(alpha=0.3)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
