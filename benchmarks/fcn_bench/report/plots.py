"""Two kinds of plots as SVG, by matplotlib: bars beside each other, and curves on logarithmic axes."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

COLOURS = {"ours": "#0b7a5b", "bare": "#9aa5b1", "rival": "#4a7ab5", "floor": "#b42318"}
CURVE_COLOURS = ("#0b7a5b", "#4a7ab5", "#b7791f", "#7c4dbd")
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # of text that lines may cross
LEAST_SPAN = 0.7  # of an axis, in powers of ten: a few percent shall not look like a cliff
# The same figures make the same bytes; text stays text, and a name with a dollar is no formula.
STYLE = {"svg.hashsalt": "fcnrt", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9}


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


@dataclass(frozen=True)
class Plot:
    """A picture as SVG, and what it shows."""

    svg: str
    description: str


def bar_chart(bars: Sequence[Bar], description: str, floor: tuple[float, str] | None = None) -> Plot:
    """Horizontal bars; `floor` is a value that is marked in all of them, with its text."""
    return _plot(lambda axes: _draw_bars(axes, bars, floor), 0.6 + 0.28 * len(bars), description)


def line_chart(curves: Sequence[Curve], x_label: str, y_label: str, description: str) -> Plot:
    """Curves on two logarithmic axes, with a legend above."""
    drawn = [curve for curve in curves if curve.points]
    return _plot(lambda axes: _draw_curves(axes, drawn, x_label, y_label), 4.2, description)


def _plot(draw: Callable[[Any], None], height_in: float, description: str) -> Plot:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    file = io.StringIO()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, height_in), layout="constrained")
        draw(figure.subplots())
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Title": description})
    return Plot(file.getvalue(), description)


def _draw_bars(axes: Any, bars: Sequence[Bar], floor: tuple[float, str] | None) -> None:
    behind = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "bbox": PAPER}
    for row, bar in enumerate(bars):
        axes.barh(row, bar.value, height=0.6, color=COLOURS[bar.kind])
        axes.hlines(row, bar.low, bar.high, color="black", linewidth=1)
        axes.annotate(bar.text, (max(bar.value, bar.high), row), **behind)
    if floor:
        axes.axvline(floor[0], color=COLOURS["floor"], linestyle="--", linewidth=1)
        axes.annotate(floor[1], (floor[0], len(bars) - 0.2), color=COLOURS["floor"], **behind)
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.set(ylim=(len(bars), -0.6), xlim=(0, 1.25 * max(max(bar.value, bar.high) for bar in bars)))
    axes.xaxis.set_ticks([])
    axes.tick_params(left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _draw_curves(axes: Any, curves: Sequence[Curve], x_label: str, y_label: str) -> None:
    for curve, colour in zip(curves, itertools.cycle(CURVE_COLOURS), strict=False):
        look = {"color": COLOURS["floor"], "linestyle": "--"} if curve.is_floor else {"color": colour, "marker": "o"}
        axes.plot(*zip(*sorted(curve.points), strict=True), label=curve.label, markersize=4, **look)
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    for axis, index in ((axes.xaxis, 0), (axes.yaxis, 1)):
        _place_ticks(axis, sorted({point[index] for curve in curves for point in curve.points}))
    axes.grid(alpha=0.3)
    axes.figure.legend(loc="outside upper left", ncols=2, frameon=False)


def _place_ticks(axis: Any, values: Sequence[float]) -> None:
    """At the values themselves where they are a few counts, else at round ones; no axis gets short of `LEAST_SPAN`."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

    low, high = math.log10(values[0]), math.log10(values[-1])
    margin = max(0.04 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    axis.set_view_interval(10 ** (low - margin), 10 ** (high + margin), ignore=True)
    few = len(values) < 8 and all(value == int(value) for value in values)
    axis.set_major_locator(FixedLocator(values) if few else LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
