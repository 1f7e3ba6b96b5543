"""HTML that cannot be broken by what it shows: text is escaped unless it was made here."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .plots import Plot

PICTURE_PX = 1600  # widest picture that is embedded
NOTHING, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


class Cell(Markup):
    """A cell of a table that is more than its content."""

    __slots__ = ()


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element; children that are not Markup are escaped, as are all attributes.

    Args:
        name: of the element.
        children: Markup, anything else as its text, None for nothing.
        attributes: `class_` for class, underscores for dashes; None leaves one out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[Any]) -> Markup:
    """Children one after the other."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def spanning(columns: int, text: str) -> Cell:
    """A cell of words, in place of so many columns of figures."""
    return Cell(tag("td", text, colspan=columns, class_="words"))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], marked: Sequence[bool] = ()) -> Markup:
    """A table that scrolls sideways in narrow windows; its first column is text, the others are figures.

    Args:
        head: cells of the first row.
        rows: cells of the others: Cell, or what is to stand in one.
        marked: which of them stand out.
    """
    lines = []
    for index, cells in enumerate(rows):
        stands_out = index < len(marked) and marked[index]
        drawn = (cell if isinstance(cell, Cell) else tag("td", cell) for cell in cells)
        lines.append(tag("tr", *drawn, class_="marked" if stands_out else None))
    header = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))
    return tag("div", tag("table", header, tag("tbody", *lines)), class_="scroll", tabindex="0")


def facts(pairs: Iterable[tuple[str, Any]]) -> Markup:
    """Names and what they stand for."""
    return tag("dl", *(joined((tag("dt", name), tag("dd", value))) for name, value in pairs))


def picture(path: Path, description: str) -> Markup:
    """A picture inside the page itself, reduced and compressed."""
    with Image.open(path) as opened:
        shown = opened.convert("RGB")
    shown.thumbnail((PICTURE_PX, PICTURE_PX))
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=82)
    width, height = shown.size
    return _embedded("webp", file.getvalue(), alt=description, width=width, height=height)


def drawing(plot: Plot) -> Markup:
    """A plot inside the page itself."""
    return _embedded("svg+xml", plot.svg.encode(), alt=plot.description)


def _embedded(kind: str, content: bytes, **attributes: Any) -> Markup:
    """A picture that scrolls sideways in narrow windows."""
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    shown = "".join(f' {name}="{html.escape(str(value))}"' for name, value in attributes.items())
    return tag("div", Markup(f'<img src="{source}"{shown}>'), class_="scroll", tabindex="0")


def _escaped(child: Any) -> str:
    return child if isinstance(child, Markup) else html.escape(str(child))
