"""The page: well-formed, complete, self-contained, and not to be broken by what it shows."""

from __future__ import annotations

import base64
import copy
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fcn_bench.commands import report
from fcn_bench.report.latency import floor_ms
from fcn_bench.report.markup import TIMES, Markup, spanning, table, tag
from fcn_bench.report.page import Source, page
from fcn_bench.report.plots import Bar, Curve, bar_chart, line_chart
from places import ROOT

RESULTS = ROOT / "benchmarks/results"
HOSTILE = """</td><script>alert("1")</script><img src='http://evil.example/x.png'>&amp; "quoted" 'single'"""
VOID = {"meta", "img"}
ENVIRONMENT = {
    "cpu": "Processor 9000",
    "cores": 2,
    "memory_gib": 23.5,
    "last_level_cache_mib": 32.0,
    "gpu": None,
    "python": "3.11.7",
    "versions": {"numpy": "2.4.6"},
    "threads": 2,
}


def drawn_text(source: str) -> str:
    """What an embedded plot says; nothing of other pictures."""
    kind, _, data = source.partition(";base64,")
    return " ".join(texts_of(base64.b64decode(data).decode())) if kind == "data:image/svg+xml" else ""


def texts_of(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]


class Page(HTMLParser):
    """Reads a page as strictly as XML: every element is closed, in order."""

    def __init__(self, source: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        self.links += [
            str(value) for key, value in attributes if key in ("src", "href", "xlink:href", "srcset", "action")
        ]
        if name not in VOID:
            self.open.append(name)
        self.text += "".join(drawn_text(value or "") for key, value in attributes if key == "src")

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data + " "


def latency_result() -> dict[str, Any]:
    def row(name: str, title: str, median: float, **more: Any) -> dict[str, Any]:
        ratio = {"median": median / 70, "p10": median / 71, "p90": median / 69}
        times = {"min_ms": median - 1, "median_ms": median, "p90_ms": median + 2, "p99_ms": median + 3.25}
        about = {"precision": "fp32", "note": "", "gives": "labels", "equal_to_reference": 0.9999871}
        common = {"first_ms": 4 * median, "ms": [median], "host_copies": "none needed"}
        return {
            "name": name,
            "title": title,
            **about,
            **times,
            "times_ours": ratio,
            "times_bare": ratio,
            **common,
            **more,
        }

    rows = [
        row("ours", "fcnrt", 70.125, times_ours=None),
        row(
            "ort-scores", "bare session", 69.5, gives="scores", equal_to_reference=None, times_bare=None, note="a floor"
        ),
        row("torch-eager", "torch eager", 141.75),
        row("openvino-bf16", "OpenVINO bf16", 35.5, precision="bf16"),
    ]
    alone = {"load_ms": 812.0, "first_ms": 91.0, "median_ms": 72.0, "host_mib": 351.0, "idle_mib": 61.0}
    curve = [
        {"batch": n, "height": 48 * k, "width": 64 * k, "flops": 22 * k * k * n * 10**7, "name": name, **alone}
        for name in ("ours", "ort-graph")
        for n, k in ((1, 1), (1, 10), (4, 10))
    ]
    failed = {"batch": 1, "height": 5472, "width": 3648, "flops": None, "name": "ort-graph", "absent": "want of memory"}
    figure = {"min_ms": 1.25, "median_ms": 1.375, "p90_ms": 1.5, "p99_ms": 1.625}
    mode = {"mode": "one by one", "frames": 8, "fps": {"median": 14.25, "p10": 13.5, "p90": 14.75}}
    size = {
        "height": 480,
        "width": 640,
        "flops": 22_543_306_752,
        "frames": {"source": "scenes", "count": 46},
        "reference": "torch",
        "base": "ours",
        "rows": rows,
        "absent": {"torch-tensorrt": "needs TensorRT on a GPU", "long-forgotten": "too old"},
        "stages": {"tail": figure},
        "throughput": {"modes": [mode], "absent": {"batches of 8": "too large"}},
        "memory": {"rows": [{"name": "ours", **alone, "device_mib": None}], "absent": {"torch-eager": "killed"}},
    }
    model = {
        "name": "net.onnx",
        "sha256": "5f" * 32,
        "family": "d2l",
        "variant": "fcn32s",
        "precision": "fp32",
        "classes": 11,
    }
    return {
        "benchmark": "latency",
        "command": ["benchmarks/latency.py", "net.onnx", "--sizes", "480x640"],
        "date": "2026-11-20T12:00:00+00:00",
        "environment": ENVIRONMENT,
        "device": "cpu",
        "model": model,
        "ceilings": {
            "before": {"fp32": 400.0, "bf16": 800.0, "copy": 21.5},
            "after": {"fp32": 450.0, "bf16": 800.0, "copy": 21.5},
        },
        "load_average": {"before": 0.1, "after": 2.2},
        "sizes": [size],
        "curve": [*curve, failed],
    }


def parity_result() -> dict[str, Any]:
    figures = {"mean_iou": {"present": 0.595061}, "class_iou": [0.909636, None], "pixel_accuracy": 0.89777}
    agreement = {
        "pixels": 17452800,
        "differing": 638,
        "equal_share": 0.9999634,
        "clear_flips": 0.0,
        "beyond": {"0.01": 0.125},
    }
    worst = {
        "disagreement": [{"frame": "street 7", "disagreement": 0.0104, "picture": "1-disagreement-1.png"}],
        "iou": [],
    }
    about = {"precision": "fp16", "absent": "", "failure": "", "shortfalls": [], "worst": worst}
    lost = {"points_lost": {"present": -0.0125}, "class_points_lost": [0.25, None]}
    reference = {
        "file": "net.pth",
        "sha256": "3e" * 32,
        "network": "d2l fcn32s",
        "hardware": "Processor 9000",
        "figures": figures,
    }
    return {
        "benchmark": "parity",
        "date": "2026-11-20T12:00:00+00:00",
        "command": ["benchmarks/parity.py", "net.pth", "net.onnx"],
        "environment": ENVIRONMENT,
        "limits": {"metric": "present", "max_miou_drop": 0.1, "min_agreement": 0.999, "max_clear_flips": 0.0001},
        "margins": [0.01],
        "clear_margin": 1.0,
        "data": {"name": "camvid val", "frames": 101, "classes": ["sky", "fence"], "sha256": "5f" * 32},
        "reference": reference,
        "rows": [
            {"title": "net.onnx (cpu)", **about, "agreement": agreement, **figures, **lost},
            {"title": "bad.onnx (cpu)", **about, "agreement": agreement, "shortfalls": ["mIoU 12.5 lost"], "worst": {}},
            {
                "title": "net.engine (cuda)",
                **about,
                "absent": "no GPU here",
                "worst": {},
                "shortfalls": ["cannot run here"],
            },
            {
                "title": "odd.onnx (cpu)",
                **about,
                "failure": "frame 3: it broke",
                "worst": {},
                "shortfalls": ["frame 3: it broke"],
            },
        ],
    }


def written(folder: Path, **results: Any) -> list[Path]:
    for name, content in results.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return [folder / f"{name}.json" for name in results]


def page_of(folder: Path, **results: Any) -> tuple[Page, str]:
    output = folder / "report.html"
    assert report.main([*map(str, written(folder, **results)), "-o", str(output)]) == 0
    source = output.read_text(encoding="utf-8")
    return Page(source), source


@pytest.fixture(scope="module")
def latency_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(tmp_path_factory.mktemp("page"), latency=latency_result())[0]


@pytest.mark.parametrize(
    "figure",
    [
        *("70.12", "72.12", "73.38", "141.75", "2.025", "1.996 to 2.054", "99.9987%", "none needed", "a floor"),
        *(
            "not run: needs TensorRT on a GPU",
            "long-forgotten",
            "1.375",
            "14.25",
            "13.50 to 14.75",
            "not run: too large",
            "not run: killed",
        ),
        *("812", "351", "61", "46 frames (scenes)", "400 and 450 GFLOP/s", "22 and 22 GB/s", "0.1 before, 2.2 after"),
        *(
            "5f5f5f5f5f5f5f5f",
            "d2l fcn32s",
            "floor in fp32: 50.1 ms",
            "1.40",
            "1.26",
            "0.51 times as long",
            "want of memory",
        ),
        *("Processor 9000", "23.5 GiB", "numpy 2.4.6", "2026-11-20T12:00:00+00:00"),
        "python benchmarks/latency.py net.onnx --sizes 480x640",
    ],
)
def test_latency_is_shown_in_full(figure: str, latency_page: Page) -> None:
    assert figure in latency_page.text


@pytest.mark.parametrize(
    "figure",
    [
        *(
            "59.506",
            "+0.0125",
            "89.777",
            "99.99634%",
            "638 of 17,452,800",
            "12.5%",
            "passed",
            "failed: mIoU 12.5 lost",
        ),
        *(
            "not run: no GPU here",
            "failed: frame 3: it broke",
            "90.964",
            "-0.2500",
            "street 7: 1.0400% of the labels differ",
        ),
        *(
            "camvid val, 101 frames",
            "3e3e3e3e3e3e3e3e",
            "99.9000% of labels equal",
            "python benchmarks/parity.py net.pth",
        ),
    ],
)
def test_parity_is_shown_in_full(figure: str, tmp_path: Path) -> None:
    found, _ = page_of(tmp_path, parity=parity_result())
    assert figure in found.text


def test_the_committed_results_make_a_page_and_the_committed_plots(tmp_path: Path) -> None:
    committed = sorted(RESULTS.glob("*.json"))
    words = [*map(str, committed), "-o", str(tmp_path / "report.html"), "--plots", str(tmp_path)]
    assert report.main(words) == 0
    drawn, published = (
        {path.name: texts_of(path.read_text()) for path in folder.glob("*.svg")} for folder in (tmp_path, RESULTS)
    )
    assert drawn == published
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<section") == len(committed) >= 5
    found = Page(text)
    rows = json.loads((RESULTS / "tail-cpu.json").read_text())["rows"]
    assert all(f"{row['median_ms']['fcnrt']:.2f}" in found.text for row in rows)
    assert all(f"{row['times_ours']['torch'][0]:.3f}" in found.text for row in rows)


def with_hostile_strings(value: Any) -> Any:
    """Every text replaced but those that choose what is drawn."""
    if isinstance(value, dict):
        kept = ("benchmark", "name", "base", "gives", "precision", "device", "metric", "picture", "mode")
        return {
            key: inner if key in kept and value is not None else with_hostile_strings(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [with_hostile_strings(inner) for inner in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("make", [latency_result, parity_result])
def test_what_results_say_is_text_and_nothing_else(make: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    hostile = with_hostile_strings(make())
    hostile[{"latency": "model", "parity": "data"}[hostile["benchmark"]]]["name"] = HOSTILE
    found, source = page_of(tmp_path, hostile=hostile)
    assert HOSTILE in found.text and "evil.example" in found.text
    assert "script" not in found.tags and not any("evil" in link for link in found.links)
    assert "<script" not in source.lower()


def test_the_page_refers_to_nothing_outside(tmp_path: Path) -> None:
    pictures = tmp_path / "parity"
    pictures.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (40, 1700, 3), np.uint8)
    Image.fromarray(noise).save(pictures / "1-disagreement-1.png")
    found, source = page_of(tmp_path, parity=parity_result(), latency=latency_result())
    kinds = ["#part1", "#part2", "data:image/webp", *["data:image/svg+xml"] * 5]
    assert [link.partition(";")[0] for link in found.links] == kinds
    assert not re.search(r"url\(|@import|https?:", source)
    assert 'width="1600"' in source  # reduced


def test_no_picture_outside_its_folder_is_shown(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "parity").mkdir()
    result = parity_result()
    result["rows"][0]["worst"]["disagreement"][0]["picture"] = "../secret.png"
    found, _ = page_of(tmp_path, parity=result)
    assert "img" not in found.tags and "secret" not in found.text and "street 7: 1.0400%" in found.text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "damaged"),
        ("[]", "expected a result of benchmarks/, got something else"),
        ('{"benchmark": "cooking"}', "got cooking"),
        ('{"benchmark": "latency", "environment": {}}', "incomplete (KeyError: 'model'); measure again"),
    ],
)
def test_what_is_no_result_is_one_line(
    content: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text(content)
    assert report.main([str(tmp_path / "x.json"), "-o", str(tmp_path / "report.html")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "x.json" in line and expected in line
    assert not (tmp_path / "report.html").exists()


def test_no_results_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert report.main([]) == 1
    assert "no results: run `fcnrt parity` or `fcnrt bench` first" in capsys.readouterr().err


def test_results_and_page_lie_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    written(tmp_path / "results", cpu=parity_result())
    monkeypatch.chdir(tmp_path)
    assert report.main([]) == 0
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"cpu.json", "report.html"}


def test_plots_are_files_that_show_the_same(tmp_path: Path) -> None:
    paths = written(tmp_path, cpu=latency_result())
    words = [*map(str, paths), "-o", str(tmp_path / "report.html"), "--plots", str(tmp_path / "plots")]
    assert report.main(words) == 0
    plots = {path.name: path.read_text() for path in (tmp_path / "plots").iterdir()}
    shapes = [f"{kind}-{along}" for kind in ("time", "memory") for along in ("pixels", "batch")]
    assert set(plots) == {"cpu-480x640.svg", *(f"cpu-{shape}.svg" for shape in shapes)}
    texts = texts_of(plots["cpu-480x640.svg"])
    assert f"141.8 ms  {TIMES} 2.02" in texts and "floor in fp32: 50.1 ms" in texts


def test_tables_for_the_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = written(tmp_path, cpu=latency_result(), parity=parity_result())
    assert report.main([*map(str, paths), "-o", str(tmp_path / "report.html"), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| net.onnx, 480x640 | precision | ms | p90 | times fcnrt (p10 to p90) | equal labels |"
    assert lines[4:] == [
        "| fcnrt | fp32 | 70.1 | 72.1 |  | 99.9987% |",
        "| bare session | fp32 | 69.5 | 71.5 | 0.99 (0.98 to 1.01) | scores only |",
        "| torch eager | fp32 | 141.8 | 143.8 | 2.02 (2.00 to 2.05) | 99.9987% |",
        "| OpenVINO bf16 | bf16 | 35.5 | 37.5 | 0.51 (0.50 to 0.51) | 99.9987% |",
    ]


def drawn_by(monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]) -> Any:
    """The axes of the plot that is made."""
    figures: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    make()
    return figures[0].axes[0]


def test_bars_are_as_long_as_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = [Bar("a", 10.0, 9.0, 12.0, "ten", "ours"), Bar("b", 20.0, 18.0, 40.0, "twenty", "rival")]
    axes = drawn_by(monkeypatch, lambda: bar_chart(bars, "two", floor=(5.0, "five")))
    assert [patch.get_width() for patch in axes.patches] == [10, 20] and axes.get_xlim()[1] > 40
    assert axes.lines[0].get_xdata()[0] == 5
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"] and axes.yaxis.get_inverted()


@pytest.mark.parametrize("most", [8.0, 1.0001, 3e6])
def test_curves_stay_inside_and_ticks_are_few(most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = [Curve("a", [(most, 2 * most), (1.0, 2.0)]), Curve("floor", [(1.0, 1.0)], is_floor=True)]
    axes = drawn_by(monkeypatch, lambda: line_chart(curves, "x", "y", "one"))
    assert list(axes.lines[0].get_xdata()) == [1.0, most]
    for (low, high), ticks in ((axes.get_xlim(), axes.get_xticks()), (axes.get_ylim(), axes.get_yticks())):
        assert low < 1 and high > most and high / low > 5
        assert 1 <= sum(low <= tick <= high for tick in ticks) <= 12


def test_counts_are_ticks_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn_by(monkeypatch, lambda: line_chart([Curve("a", [(1, 9.5), (3, 30.5), (4, 41.0)])], "x", "y", "one"))
    assert axes.get_xticks().tolist() == [1, 3, 4]


def test_a_floor_needs_flops_and_a_rate() -> None:
    result = latency_result()
    assert floor_ms(result, 450_000_000, "fp32") == 1.0  # at the better of two rates
    assert floor_ms(result, None, "fp32") is None and floor_ms(result, 1, "tf32") is None


def test_markup_escapes_all_but_itself() -> None:
    assert tag("a", "<&>", Markup("<b></b>"), href='"') == '<a href="&quot;">&lt;&amp;&gt;<b></b></a>'
    drawn = table(["<h>"], [["<c>"], [spanning(3, "<w>")]], [True])
    assert (
        "&lt;h&gt;" in drawn
        and "<td>&lt;c&gt;</td>" in drawn
        and '<td colspan="3" class="words">&lt;w&gt;</td>' in drawn
    )


def test_the_page_does_not_change_what_it_reads() -> None:
    result = latency_result()
    before = copy.deepcopy(result)
    page([Source(Path("a.json"), "latency", result)])
    assert result == before
