"""README and docs/ keep their promises: links lead somewhere, refusals exist, figures come from results."""

from __future__ import annotations

import ast
import csv
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from documents import PAGES, Page, page
from fcn_bench.report.markdown import contest_tables, slip_table
from places import ROOT

RESULTS = ROOT / "benchmarks/results"


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_links_lead_somewhere(shown: Page) -> None:
    for link in shown.links:
        name, _, anchor = link.partition("#")
        target = (shown.path.parent / name).resolve() if name else shown.path
        assert target.exists(), link
        assert not anchor or anchor in Page(target).anchors, link


def test_the_index_names_every_page() -> None:
    listed = {link.partition("#")[0] for link in page("docs/README.md").links}
    assert {shown.path.name for shown in PAGES if shown.name.startswith("docs/")} - {"README.md"} <= listed


def test_readme_fits_few_screens() -> None:
    assert len(page("README.md").text.splitlines()) <= 150


def texts(folder: Path) -> list[str]:
    """All string literals of the sources in a folder; NUL stands for what is filled in."""
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


@pytest.fixture(scope="module")
def sources() -> str:
    return "\n".join(text for folder in ("export", "runtime", "benchmarks") for text in texts(ROOT / folder))


@pytest.mark.parametrize("refusal", re.findall(r"^\| `([^`]+)` \|", page("docs/troubleshooting.md").text, flags=re.M))
def test_refusal_is_one_that_the_sources_know(refusal: str, sources: str) -> None:
    """Each part between dots as it stands; what is between is filled in, or is another text of the sources."""
    parts = [part.strip() for part in refusal.split("...")]
    assert [part for part in parts if part not in sources] == []


def test_table_of_the_last_step_quotes_the_committed_results() -> None:
    results = json.loads((RESULTS / "tail-cpu.json").read_text())
    measured = {
        (row["case"]["kind"], row["case"]["stride"], row["case"]["height"], row["case"]["content"]): row
        for row in results["rows"]
    }
    kinds = {"half-pixel": "half_pixel", "align-corners": "align_corners", "deconvolution": "deconv"}
    row_pattern = r"^\| (.*) \| (\d+)x\d+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$"
    quoted = re.findall(row_pattern, page("docs/speed.md").text, flags=re.M)
    assert len(quoted) >= 8
    for name, height, *figures in quoted:
        kind, _, rest = name.partition(", ")
        stride = int(rest.split()[1].strip(",")) if rest else 1
        row = measured[kinds.get(kind, "none"), stride, int(height), "noise" if "noise" in name else "scene"]
        times = [row["median_ms"][contender] for contender in ("fcnrt", "onnxruntime", "torch")]
        assert figures == [f"{value:.1f}" for value in (*times, best_of_the_others(row))]


def best_of_the_others(row: dict) -> float:
    return min(row["times_ours"][rival][0] for rival in ("onnxruntime", "torch"))


def test_latency_tables_quote_the_committed_results() -> None:
    results = {path.name: json.loads(path.read_text()) for path in RESULTS.glob("latency-*.json")}
    measured = {table for result in results.values() for table in contest_tables(result)}
    text = page("docs/speed.md").text
    quoted = re.findall(r"^\| [^\n|]*\.onnx, \d+x\d+ \|.*(?:\n\|.*)+", text, flags=re.M)
    assert quoted and set(quoted) <= measured
    assert all(f"latency-{table.split('.onnx')[0].removeprefix('| ')}.json" in text for table in quoted)


def test_the_table_of_int8_and_what_is_said_of_it_are_the_committed_results() -> None:
    result, times = int8_result("fcn32s_resnet18_camvid")
    assert "\n\n".join(contest_tables(result)) in page("docs/int8.md").text
    prose = page("docs/int8.md").prose
    shares = [times(name, "ours") for name in ("ours-int8", "ours-int8-openvino", "ours-bf16")]
    equal = {row["name"]: row["equal_to_ours"] for row in result["accuracy"]["rows"]}
    headline = f"takes {shares[0]:.2f} of its time in float32, with {equal['ours-int8']:.1%}".replace("%", " %")
    assert headline in page("README.md").prose
    assert "INT8 takes {:.2f}, by OpenVINO {:.2f}, bfloat16 {:.2f}".format(*shares) in prose
    assert f"takes {times('ort-textbook', 'ours-int8-openvino'):.1f} times as long as our fastest" in prose
    assert f"NNCF's file takes {times('openvino-int8', 'ours-int8-openvino'):.2f} of the time" in prose
    assert f"takes {times('ours-openvino', 'openvino-scores'):.2f} of the bare request" in prose


def test_what_is_said_of_int8_for_fcn_resnet50_is_the_committed_result() -> None:
    _, times = int8_result("fcn_resnet50")
    shares = [times(name, "ours") for name in ("ours-int8", "ours-int8-openvino", "ours-bf16")]
    text = "takes {:.2f} of ONNX Runtime's time in float32, by OpenVINO {:.2f}, bfloat16 {:.2f}; ".format(*shares)
    nncf = f"NNCF's file takes {times('openvino-int8', 'ours-int8-openvino'):.2f} of"
    assert text + nncf in page("docs/int8.md").prose


def int8_result(name: str) -> tuple[dict[str, Any], Callable[[str, str], float]]:
    """A committed result, and the median over its first size's rounds of one contender's time by another's."""
    result = json.loads((RESULTS / f"latency-{name}-int8.json").read_text())
    ms = {row["name"]: row["ms"] for row in result["sizes"][0]["rows"]}
    return result, lambda slow, fast: statistics.median(
        above / below for above, below in zip(ms[slow], ms[fast], strict=True)
    )


def test_what_slips_cost_is_what_was_measured() -> None:
    result = json.loads((RESULTS / "five-lines-camvid.json").read_text())
    assert "\n".join(slip_table(result)) in page("docs/parity.md").text
    kept = [100 * row["mean_iou"] for row in result["rows"]]
    swapped, mean, _, resized = (f"{kept[0] - points:.1f}" for points in kept[1:5])
    prose = page("README.md").prose
    assert f"has {kept[0]:.1f} points of mean IoU on CamVid keeps {kept[-1]:.1f}" in prose
    assert f"BGR alone costs {swapped}, the forgotten mean {mean}, the resizing {resized}" in prose


def test_what_five_lines_cost_is_what_the_tables_say() -> None:
    small, large = (times_of_the_textbook("fcn32s_resnet18_camvid", size) for size in ("480x640", "1080x1920"))
    prose = page("README.md").prose
    assert f"took {small:.2f} times as long as `fcnrt` at 480x640, and {large:.2f} times at 1080x1920" in prose
    assert f"all of that is {times_of_the_textbook('fcn_resnet50', '480x640') - 1:.0%}".replace("%", " %") in prose
    tails = json.loads((RESULTS / "tail-cpu.json").read_text())["rows"]
    ratios = [best_of_the_others(row) for row in tails if row["case"]["height"] == 1080 and row["case"]["stride"] > 1
              and row["case"]["content"] == "scene"]  # fmt: skip
    assert f"took {min(ratios):.1f} to {max(ratios):.1f} times as long" in prose


def times_of_the_textbook(model: str, size: str) -> float:
    """How many times as long as fcnrt the script took that normalises in numpy and calls np.argmax."""
    results = json.loads((RESULTS / f"latency-{model}.json").read_text())
    (table,) = (table for table in contest_tables(results) if table.startswith(f"| {model}.onnx, {size} |"))
    return float(re.search(r"^\| textbook script.*?\| ([\d.]+) \([^|]*\) \|", table, flags=re.M)[1])  # type: ignore[index]


def test_work_of_the_two_networks_is_what_was_counted() -> None:
    small, large = (json.loads((RESULTS / f"latency-{name}.json").read_text())["sizes"][0]["flops"]
                    for name in ("fcn32s_resnet18_camvid", "fcn_resnet50"))  # fmt: skip
    assert f"fcn_resnet50, {large / small:.0f} times the work" in page("README.md").prose


def test_pipeline_figures_are_the_committed_ones() -> None:
    rows = json.loads((RESULTS / "video-rate.json").read_text())["rows"]
    for row in rows:
        assert f"at {row['of_slowest_stage']['median']:.2f} " in page("docs/live-video.md").prose
        assert row["size"] == [480, 640]
    assert len(rows) == 2 and "waits 20 ms" in {row["network"] for row in rows}


def test_training_figure_is_the_curves_best() -> None:
    with (RESULTS / "train-camvid.csv").open() as file:
        epochs = list(csv.DictReader(file))
    best = max(float(epoch["miou"]) for epoch in epochs)
    minutes = sum(float(epoch["seconds"]) for epoch in epochs) / 60
    prose = page("docs/training.md").prose
    assert f"reached mIoU {best:.3f} on all 101 validation frames in {minutes:.0f} minutes" in prose
    assert f"({len(epochs)} epochs, bfloat16;" in prose


def test_soak_figures_are_the_recorded_ones() -> None:
    record = (RESULTS / "soak-cpu.txt").read_text()
    frames = max(int(count) for count in re.findall(r"^(\d+) frames in", record, flags=re.M))
    growth_mb = [float(figure) for figure in re.findall(r"memory grew by ([\d.]+) MB", record)]
    prose = page("docs/live-video.md").prose
    assert f"{frames:,} frames of a file" in prose and "through 20 kills" in prose and "20 reconnections" in record
    assert f"memory grew by {min(growth_mb):.0f} to {max(growth_mb):.0f} MB" in prose and len(growth_mb) == 3


def test_load_figures_are_the_recorded_ones() -> None:
    record, prose = (RESULTS / "load-cpu.txt").read_text(), page("docs/serving.md").prose
    labelled, least = re.search(r"^(\d+) labelled for 64 clients in 60 s, at least (\d+)", record, flags=re.M).groups()  # type: ignore[union-attr]
    assert f"{labelled} pictures of 121x163 got their labels, at least {least} for each client" in prose
    growth, rate = (re.search(pattern, record)[1] for pattern in (r"([+-][\d.]+) MB", r"([\d.]+) pictures per second"))  # type: ignore[index]
    assert f"memory changed by {growth} MB over" in prose and f"{rate} pictures per second reached" in prose
    rows = re.findall(r"p50 ([\d.]+) ms, p99 ([\d.]+) ms, ([\d.]+) times the median (\(.*\))", record)
    for (p50, p99, times, rounds), (*_, ideal, ideal_rounds) in zip(rows[::2], rows[1::2], strict=True):
        shown = f"| {p50} ms | {p99} ms | {times} {rounds} | {ideal} {ideal_rounds} |"
        assert shown in page("docs/serving.md").text and len(rows) == 4


@pytest.mark.parametrize("folder", re.findall(r"^\| `([\w/]+/)` \|", page("docs/architecture.md").text, flags=re.M))
def test_folder_in_the_map_exists(folder: str) -> None:
    assert (ROOT / folder).is_dir()


def test_every_source_file_that_a_page_names_exists() -> None:
    for shown in PAGES:
        named = re.findall(r"`((?:export|runtime|benchmarks|examples|tests|docs)/[\w/.-]+\.\w+)`", shown.text)
        missing = [name for name in named if not (ROOT / name).exists()]
        assert not missing, shown.name
