"""The part of the report about benchmarks/five_lines.py: what frames prepared otherwise cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .markdown import slip_cells
from .markup import Markup, facts, joined, table

HEAD = ("frames prepared", "mIoU", "points lost", "equal labels")


def slips_section(result: Mapping[str, Any]) -> Markup:
    """The network, the data, and a row for each slip."""
    checkpoint, data = result["checkpoint"], result["data"]
    about = (
        ("checkpoint", f"{checkpoint['name']}: {checkpoint['network']}, torch float32"),
        ("data", f"{data['name']}, {data['frames']} frames"),
    )
    return joined((facts(about), table(HEAD, slip_cells(result))))
