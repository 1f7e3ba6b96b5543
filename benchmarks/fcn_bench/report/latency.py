"""The report's pages on speed: contests, stages, throughput, cost curves, and the last step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..speed.contenders import CONTENDERS
from .markup import NOTHING, TIMES, Markup, drawing, facts, joined, spanning, table, tag
from .plots import Bar, Curve, Plot, bar_chart, line_chart

Result = Mapping[str, Any]

MEGA = 1e6
HOW = (
    f"Times are of a host frame to its host labels. Contenders took turns in every round; {TIMES} is the median of the "
    "ratios within rounds, with the 10th and 90th percentile. Of fewer than 100 rounds p99 lies between the two "
    "slowest. The floor is what the network's convolutions would take at the rate of this machine's own matrix product "
    "in that precision; Winograd's convolutions, which multiply less, can fall below it. Memory is the peak of a fresh "
    "process with nothing but that contender, libraries and frame included. In plots bars are medians; their lines "
    "reach from the fastest round to the 90th percentile."
)


def contest_plots(result: Result) -> dict[str, Plot]:
    """A bar chart per frame size, by "480x640"."""
    return {_size(made): _contest_plot(result, made) for made in result["sizes"]}


def curve_plots(result: Result) -> dict[str, Plot]:
    """Cost curves by "time-pixels", "memory-pixels", "time-batch" and "memory-batch", as far as they were measured."""
    found = {}
    for across in ("pixels", "batch"):
        points = [point for point in _along(result, across) if "absent" not in point]
        if len({_position(point, across) for point in points}) > 1:
            found[f"time-{across}"] = _curve_plot(result, points, across, "median_ms")
            found[f"memory-{across}"] = _curve_plot(result, points, across, "host_mib")
    return found


def latency_section(result: Result) -> Markup:
    """Everything in a file of benchmarks/latency.py but the machine, which the page shows for all kinds alike."""
    model = result["model"]
    about = facts(
        (
            ("model", f"{model['name']}, {model['family']} {model['variant']}, {model['classes']} classes"),
            ("sha256", tag("code", model["sha256"][:16])),
            ("precision of the file", model["precision"]),
            ("ceilings", _ceilings(result)),
            ("load average", " before, ".join(f"{value}" for value in result["load_average"].values()) + " after"),
        )
    )
    contests = [part for made in result["sizes"] for part in _size_parts(result, made)]
    return joined((about, *contests, *_curve_parts(result), tag("p", HOW, class_="small")))


def tail_section(result: Result) -> Markup:
    """The table of a file of benchmarks/tail.py."""
    rivals = [name for name in result["rows"][0]["median_ms"] if name != "fcnrt"]
    head = [
        "scores to labels",
        "frame",
        "fcnrt ms",
        *(f"{name} ms" for name in rivals),
        *(f"{TIMES} {name}" for name in rivals),
    ]
    return table(head, (_tail_cells(row, rivals) for row in result["rows"]))


def floor_ms(result: Result, flops: int | None, precision: str) -> float | None:
    """What the convolutions take at the best rate that was measured in a precision; None where that is not known."""
    rates = [ceiling[precision] for ceiling in result["ceilings"].values() if precision in ceiling]
    return flops / max(rates) / MEGA if flops and rates else None


def _size_parts(result: Result, made: Result) -> Iterator[Markup]:
    yield tag("h3", f"Frames of {_size(made)}")
    yield tag("p", _headline(made))
    yield drawing(_contest_plot(result, made))
    yield _contest_table(result, made)
    frames = made["frames"]
    yield tag(
        "p", f"{frames['count']} frames ({frames['source']}), labels against {made['reference']}.", class_="small"
    )
    if "stages" in made:
        yield tag("h4", "Where the time of a call goes")
        yield _stage_table(made["stages"])
        yield tag("h4", "Throughput")
        yield _throughput_table(made["throughput"])
        yield tag("h4", "Each alone in a fresh process")
        yield _memory_table(made["memory"])


def _headline(made: Result) -> str:
    """In words: how near to the bare session, who is fastest in the same precision, who is faster in another."""
    rows = {row["name"]: row for row in made["rows"]}
    ours = rows[made["base"]]
    text = f"{ours['title']} takes {ours['median_ms']:.1f} ms"
    if ours["times_bare"]:
        text += f", {ours['times_bare']['median']:.3f} times the bare session.run up to the scores"
    rivals = [row for row in rows.values() if row["gives"] == "labels" and row["times_ours"]]
    alike = [row for row in rivals if row["precision"] == ours["precision"]]
    if alike:
        best = min(alike, key=lambda row: row["times_ours"]["median"])
        text += f". The fastest other in {ours['precision']}, {best['title']}, takes {_times(best, 2)} times as long"
    faster = [row for row in rivals if row["precision"] != ours["precision"] and row["times_ours"]["median"] < 1]
    return (
        text
        + "".join(f". In {row['precision']}, {row['title']} takes {_times(row, 2)} times as long" for row in faster)
        + "."
    )


def _times(row: Result, digits: int) -> str:
    return f"{row['times_ours']['median']:.{digits}f}"


def _contest_plot(result: Result, made: Result) -> Plot:
    ours = made["base"]
    bars = [
        Bar(
            row["title"],
            row["median_ms"],
            row["min_ms"],
            row["p90_ms"],
            f"{row['median_ms']:.1f} ms" + (f"  {TIMES} {_times(row, 2)}" if row["times_ours"] else ""),
            "ours" if row["name"].startswith("ours") else "bare" if row["gives"] == "scores" else "rival",
        )
        for row in sorted(made["rows"], key=lambda row: row["median_ms"])
    ]
    precision = next(row["precision"] for row in made["rows"] if row["name"] == ours)
    floor = floor_ms(result, made["flops"], precision)
    mark = (floor, f"floor in {precision}: {floor:.1f} ms") if floor else None
    return bar_chart(bars, f"{result['model']['name']}, {_size(made)}: milliseconds per frame", mark)


def _contest_table(result: Result, made: Result) -> Markup:
    times = [f"{TIMES} {what}" for what in ("fcnrt", "bare", "floor")]
    head = ["", "precision", "median ms", "p90", "p99", *times, "equal labels", "host copies"]
    rows = [_contest_cells(result, made, row) for row in made["rows"]]
    reasons = made["absent"].items()
    rows += [[_title(name), spanning(len(head) - 1, f"not run: {why}")] for name, why in reasons]
    return table(head, rows, [row["name"] == made["base"] for row in made["rows"]])


def _contest_cells(result: Result, made: Result, row: Result) -> list[Any]:
    floor = floor_ms(result, made["flops"], row["precision"])
    return [
        joined((row["title"], tag("small", row["note"]) if row["note"] else None)),
        row["precision"],
        *(f"{row[key]:.2f}" for key in ("median_ms", "p90_ms", "p99_ms")),
        _ratio(row["times_ours"]),
        _ratio(row["times_bare"]),
        f"{row['median_ms'] / floor:.2f}" if floor else NOTHING,
        NOTHING if row["equal_to_reference"] is None else f"{row['equal_to_reference']:.4%}",
        row["host_copies"],
    ]


def _ratio(ratio: Mapping[str, float] | None) -> Any:
    if ratio is None:
        return NOTHING
    return joined((f"{ratio['median']:.3f}", tag("small", f"{ratio['p10']:.3f} to {ratio['p90']:.3f}")))


def _stage_table(stages: Result) -> Markup:
    rows = [
        (name, *(f"{times[key]:.3f}" for key in ("median_ms", "p90_ms", "min_ms"))) for name, times in stages.items()
    ]
    return table(("stage", "median ms", "p90", "least"), rows)


def _throughput_table(measured: Result) -> Markup:
    rows: list[list[Any]] = []
    for mode in measured["modes"]:
        fps = mode["fps"]
        rows.append([mode["mode"], f"{fps['median']:.2f}", f"{fps['p10']:.2f} to {fps['p90']:.2f}", mode["frames"]])
    rows += [[name, spanning(3, f"not run: {why}")] for name, why in measured["absent"].items()]
    return table(("", "frames per second", "p10 to p90", "frames per run"), rows)


def _memory_table(measured: Result) -> Markup:
    columns = {"load_ms": "load ms", "first_ms": "first run ms", "median_ms": "then ms", "host_mib": "host MiB"}
    columns["idle_mib"] = "of it Python and frame"
    if any(row["device_mib"] is not None for row in measured["rows"]):
        columns["device_mib"] = "device MiB"
    rows = [[_title(row["name"]), *(_rounded(row[key]) for key in columns)] for row in measured["rows"]]
    reasons = measured["absent"].items()
    rows += [[_title(name), spanning(len(columns), f"not run: {why}")] for name, why in reasons]
    return table(("", *columns.values()), rows)


def _rounded(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f}"


def _ceilings(result: Result) -> str:
    """All measurements of each ceiling: where they differ, the machine was not steady."""
    found = result["ceilings"].values()
    parts = []
    for name in result["ceilings"]["before"]:
        what, unit = ("copy", "GB/s") if name == "copy" else (f"matrix product in {name}", "GFLOP/s")
        parts.append(f"{what} {' and '.join(f'{rates[name]:.0f}' for rates in found)} {unit}")
    return ", ".join(parts) + " (before and after)"


def _along(result: Result, across: str) -> list[Result]:
    """The curve's points that lie along one axis: single frames of any size, or batches of the first size."""
    if across == "pixels":
        return [point for point in result["curve"] if point["batch"] == 1]
    batches = [point for point in result["curve"] if point["batch"] > 1]
    sizes = {_size(point) for point in batches}
    return [point for point in result["curve"] if _size(point) in sizes]


def _position(point: Result, across: str) -> float:
    return point["height"] * point["width"] / MEGA if across == "pixels" else point["batch"]


def _curve_plot(result: Result, points: Sequence[Result], across: str, key: str) -> Plot:
    names = list(dict.fromkeys(point["name"] for point in points))
    curves = [
        Curve(_title(name), [(_position(p, across), p[key]) for p in points if p["name"] == name]) for name in names
    ]
    if key == "median_ms":
        floors = {_position(p, across): floor_ms(result, p["flops"], "fp32") for p in points}
        known = [(x, y) for x, y in floors.items() if y]
        curves.append(Curve("floor in fp32", known, is_floor=True))
    x_label = "megapixels" if across == "pixels" else f"frames of {_size(points[0])} per call"
    y_label = "milliseconds per call" if key == "median_ms" else "MiB of host memory at most"
    return line_chart(curves, x_label, y_label, f"{result['model']['name']}: {y_label} by {x_label}")


def _curve_parts(result: Result) -> Iterator[Markup]:
    plots = curve_plots(result)
    if not result["curve"]:
        return
    yield tag("h3", "Cost curves")
    yield from map(drawing, plots.values())
    head = ("", "batch", "frame", "GFLOP", "ms per call", f"{TIMES} floor", "host MiB", "first run ms")
    yield table(head, (_curve_cells(result, point) for point in result["curve"]))


def _curve_cells(result: Result, point: Result) -> list[Any]:
    flops = f"{point['flops'] / 1e9:.1f}" if point["flops"] else NOTHING
    about = [_title(point["name"]), point["batch"], _size(point), flops]
    if "absent" in point:
        return [*about, spanning(4, f"not run: {point['absent']}")]
    floor = floor_ms(result, point["flops"], "fp32")
    times = f"{point['median_ms'] / floor:.2f}" if floor else NOTHING
    memory = f"{point['host_mib']:.0f}" if point["host_mib"] else NOTHING
    return [*about, f"{point['median_ms']:.1f}", times, memory, f"{point['first_ms']:.0f}"]


def _tail_cells(row: Result, rivals: Sequence[str]) -> list[Any]:
    case = row["case"]
    name = f"{case['kind'].replace('_', '-')}, stride {case['stride']}" if case["kind"] != "none" else "argmax alone"
    noise = ", pure noise" if case["content"] == "noise" else ""
    times = [f"{row['median_ms'][who]:.2f}" for who in ("fcnrt", *rivals)]
    ratios = [_ratio(dict(zip(("median", "p10", "p90"), row["times_ours"][who], strict=True))) for who in rivals]
    return [name + noise, _size(case), *times, *ratios]


def _size(made: Result) -> str:
    return f"{made['height']}x{made['width']}"


def _title(name: str) -> str:
    """A contender's title; its name where the result is older than the table of contenders."""
    return CONTENDERS[name].title if name in CONTENDERS else name
