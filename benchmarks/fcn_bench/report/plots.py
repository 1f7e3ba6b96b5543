"""Two kinds of plots as SVG: bars beside each other, and curves on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .markup import Markup, joined, tag

WIDTH = 800
LABELS_PX, ROW_PX, BAR_PX, TEXT_PX = 290, 27, 15, 175
PLOT_PX, LEFT_PX, RIGHT_PX, BOTTOM_PX = 300, 84, 12, 48
LEGEND_PX, LEGEND_COLUMNS = 22, 2
DIGIT_PX = 7.0
LEAST_SPAN = 0.7  # of an axis, in powers of ten: a few percent shall not look like a cliff
STEPS = (*([tenths / 10 for tenths in range(10, 100, by)] for by in (1, 2, 5)), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,))
# For a plot in a file of its own; in a page these are set by the page.
STYLE = """
svg { font: 13px system-ui, sans-serif; background: #ffffff }
text { fill: #1c2430 } .faint { fill: #5b6675 } .grid { stroke: #d9dee5 } .axis { stroke: #8b95a3 }
.floor { stroke: #b42318 } text.floor { fill: #b42318; stroke: none } .whisker { stroke: #1c2430 }
.ours { fill: #0b7a5b } .bare { fill: #9aa5b1 } .rival { fill: #4a7ab5 }
.c0 { --c: #0b7a5b } .c1 { --c: #4a7ab5 } .c2 { --c: #b7791f } .c3 { --c: #7c4dbd } .c4 { --c: #b42318 }
.line { fill: none; stroke: var(--c); stroke-width: 2 } .dot { fill: var(--c) }
"""


@dataclass(frozen=True)
class Bar:
    """One bar from 0 to `value`, with a line from `low` to `high` on it, and a text behind it."""

    label: str
    value: float
    low: float
    high: float
    text: str
    kind: Literal["ours", "bare", "rival"]


@dataclass(frozen=True)
class Curve:
    """Points (x, y), both above 0."""

    label: str
    points: Sequence[tuple[float, float]]
    is_floor: bool = False


def bar_chart(bars: Sequence[Bar], description: str, floor: tuple[float, str] | None = None) -> Markup:
    """Horizontal bars; `floor` is a value that is marked in all of them, with its text."""
    longest = max([bar.value for bar in bars] + [bar.high for bar in bars] + ([floor[0]] if floor else []))
    scale = (WIDTH - LABELS_PX - TEXT_PX) / longest
    rows = [_bar(bar, index * ROW_PX, scale) for index, bar in enumerate(bars)]
    height = ROW_PX * len(bars)
    mark = _mark(LABELS_PX + floor[0] * scale, height, floor[1]) if floor else None
    return _svg(height + (ROW_PX if floor else 0), description, [mark, *rows])


def line_chart(curves: Sequence[Curve], x_label: str, y_label: str, description: str) -> Markup:
    """Curves on two logarithmic axes, with a legend above."""
    drawn = [curve for curve in curves if curve.points]
    top = LEGEND_PX * math.ceil(len(drawn) / LEGEND_COLUMNS) + 12
    xs, ys = ([point[axis] for curve in drawn for point in curve.points] for axis in (0, 1))
    across = _Axis(xs, LEFT_PX, WIDTH - RIGHT_PX, gap=45)
    up = _Axis(ys, top + PLOT_PX, top, gap=24)
    parts = [*_grid(across, up, x_label, y_label)]
    for index, curve in enumerate(drawn):
        parts += [_legend(curve, index), _curve(curve, index, across, up)]
    return _svg(top + PLOT_PX + BOTTOM_PX, description, parts)


def standalone(chart: Markup) -> str:
    """A plot as a file of its own."""
    style = f'<svg xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>'
    head, _, rest = chart.partition(">")
    attributes = head.removeprefix("<svg")
    return style.replace("<svg", f"<svg{attributes}", 1) + rest + "\n"


class _Axis:
    """A logarithmic axis from pixel `start` to pixel `end`, a little longer than its values.

    Args:
        values: what lies along it, above 0.
        start, end: where it does.
        gap: least distance between two ticks, in pixels.
    """

    def __init__(self, values: Sequence[float], start: float, end: float, gap: float):
        low, high = math.log10(min(values)), math.log10(max(values))
        margin = max(0.04 * (high - low), (LEAST_SPAN - (high - low)) / 2)
        self.low, self.high, self.start, self.end = low - margin, high + margin, start, end
        self.ticks = self._ticks(sorted(set(values)), gap)

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def _ticks(self, values: list[float], gap: float) -> list[float]:
        """Counts themselves; else round values, as many as fit, from tenths of a power of ten to the powers alone."""
        if all(value == int(value) for value in values) and self._fit(values, gap):
            return values
        exponents = range(math.floor(self.low), math.ceil(self.high) + 1)
        for steps in STEPS:
            found = [step * 10.0**exponent for exponent in exponents for step in steps]
            shown = [value for value in found if self.low <= math.log10(value) <= self.high]
            if self._fit(shown, gap):
                break
        return shown

    def _fit(self, values: list[float], gap: float) -> bool:
        places = [self.at(value) for value in values]
        return all(abs(after - before) >= gap for before, after in pairwise(places))


def _svg(height: float, description: str, parts: Iterable[Markup | None]) -> Markup:
    size = {"viewBox": f"0 0 {WIDTH} {height:g}", "width": WIDTH, "height": f"{height:g}"}
    return tag("svg", tag("title", description), *parts, role="img", **size)


def _bar(bar: Bar, top: float, scale: float) -> Markup:
    middle = top + ROW_PX / 2
    end, low, high = (round(LABELS_PX + value * scale, 1) for value in (bar.value, bar.low, bar.high))
    thick = {"y": middle - BAR_PX / 2, "height": BAR_PX}
    return joined(
        (
            _text(LABELS_PX - 8, middle, bar.label, anchor="end"),
            tag("rect", x=LABELS_PX, width=max(1.0, round(end - LABELS_PX, 1)), class_=bar.kind, **thick),
            tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"),
            _text(max(end, high) + 8, middle, bar.text),
        )
    )


def _mark(x: float, height: float, text: str) -> Markup:
    line = tag("line", x1=round(x, 1), x2=round(x, 1), y1=0, y2=height + 4, class_="floor", stroke_dasharray="5 4")
    fits_right = x + DIGIT_PX * len(text) < WIDTH
    anchor = "start" if fits_right else "end"
    return joined((line, _text(round(x, 1) - 2, height + ROW_PX / 2, text, class_="floor", anchor=anchor)))


def _grid(across: _Axis, up: _Axis, x_label: str, y_label: str) -> Iterator[Markup]:
    for value in up.ticks:
        yield tag("line", x1=LEFT_PX, x2=WIDTH - RIGHT_PX, y1=up.at(value), y2=up.at(value), class_="grid")
        yield _text(LEFT_PX - 6, up.at(value), f"{value:,.10g}", anchor="end", class_="faint")
    for value in across.ticks:
        yield tag("line", x1=across.at(value), x2=across.at(value), y1=up.start, y2=up.end, class_="grid")
        yield _text(across.at(value), up.start + 14, f"{value:,.10g}", anchor="middle", class_="faint")
    yield tag("line", x1=LEFT_PX, x2=WIDTH - RIGHT_PX, y1=up.start, y2=up.start, class_="axis")
    yield _text((LEFT_PX + WIDTH) / 2, up.start + 36, x_label, anchor="middle")
    turned = f"rotate(-90 12 {(up.start + up.end) / 2:g})"
    yield _text(12, (up.start + up.end) / 2, y_label, anchor="middle", transform=turned)


def _legend(curve: Curve, index: int) -> Markup:
    row, column = divmod(index, LEGEND_COLUMNS)
    x, y = LEFT_PX + column * (WIDTH - LEFT_PX) / LEGEND_COLUMNS, LEGEND_PX * (row + 0.5)
    key = tag(
        "line", x1=x, x2=x + 26, y1=y, y2=y, class_=f"line {_colour(curve, index)}", stroke_dasharray=_dashes(curve)
    )
    return joined((key, _text(x + 34, y, curve.label)))


def _curve(curve: Curve, index: int, across: _Axis, up: _Axis) -> Markup:
    places = [(across.at(x), up.at(y)) for x, y in sorted(curve.points)]
    colour = _colour(curve, index)
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
    line = tag("path", d=path, class_=f"line {colour}", stroke_dasharray=_dashes(curve))
    dots = () if curve.is_floor else (tag("circle", cx=x, cy=y, r=3.5, class_=f"dot {colour}") for x, y in places)
    return joined((line, *dots))


def _colour(curve: Curve, index: int) -> str:
    return "c4" if curve.is_floor else f"c{index % 4}"


def _dashes(curve: Curve) -> str | None:
    return "5 4" if curve.is_floor else None


def _text(x: float, y: float, text: str, anchor: str = "start", **attributes: str) -> Markup:
    return tag("text", text, x=round(x, 1), y=round(y, 1), dy="0.35em", text_anchor=anchor, **attributes)
