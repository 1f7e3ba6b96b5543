"""Exported files in the runtimes of others, each in an environment of its own.

A row of the table is a `Runtime`. What each made of the files (see files.py) is kept in FOLDER; when all rows are
there, of all networks, docs/compatibility.md gets the table.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from environments import HELPERS, NotInstalled, node_modules_with, printed, python_with, versions
from extent import extent
from pythons import ROOT
from report import faults, page_with, table, told
from summary import Row, tried

HERE = Path(__file__).parent
FOLDER = ROOT / "build/compatibility/runtimes" / extent()
FILES = FOLDER / "files"
PAGE = ROOT / "docs/compatibility.md"
OLD = "numpy<2"  # what was built before it does not say so itself
SOME = (  # networks: of every family, and what has been a runtime's undoing
    *("caffe fcn8s", "zijundeng fcn16s", "tramac fcn16s", "pochih fcns"),
    *("tramac-resnet fcn", "torchvision fcn", "d2l fcn32s wider middle"),
)
IN_BROWSER = {"wasm": "WebAssembly", "webgl": "WebGL", "webgpu": "WebGPU"}  # adapters that are in browser.py


@dataclass(frozen=True)
class Runtime:
    """A row of the table.

    Attributes:
        title: with the packages' names where their versions belong.
        adapter: its name in inside.py, or one of IN_BROWSER.
        packages: from PyPI, or one from npm for the browser.
        faulty: whether it is known to refuse some of the files, or to label some wrongly.
        asked: whether it is run only where it is named: WebGPU without a GPU takes minutes a file, and knows no halves.
    """

    title: str
    adapter: str
    packages: tuple[str, ...]
    faulty: bool = False
    asked: bool = False

    @property
    def name(self) -> str:
        return self.adapter if self.adapter in IN_BROWSER else self.packages[0]

    @property
    def file_name(self) -> str:
        return re.sub(r"[^\w.]+", "-", self.name)


def _onnx_runtime(*packages: str, faulty: bool = False) -> Runtime:
    return Runtime("ONNX Runtime {onnxruntime}", "onnxruntime", packages, faulty)


def _opencv(package: str) -> Runtime:
    return Runtime("OpenCV {opencv-python-headless}", "opencv", (package,), faulty=True)


def _browser(adapter: str, title: str) -> Runtime:
    told = f"onnxruntime-web {{onnxruntime-web}}, {title} in Chromium"
    return Runtime(told, adapter, ("onnxruntime-web",), adapter != "wasm", asked=adapter == "webgpu")


RUNTIMES = (
    _onnx_runtime("onnxruntime==1.12.1", OLD),
    _onnx_runtime("onnxruntime==1.14.1", OLD, faulty=True),
    *(_onnx_runtime(f"onnxruntime=={old}", OLD) for old in ("1.16.3", "1.18.1", "1.20.1")),
    _onnx_runtime("onnxruntime==1.23.2"),
    _onnx_runtime("onnxruntime"),
    *(_browser(adapter, title) for adapter, title in IN_BROWSER.items()),
    Runtime("OpenVINO {openvino}", "openvino", ("openvino==2023.3.0", OLD)),
    Runtime("OpenVINO {openvino}", "openvino", ("openvino",)),
    *(_opencv(f"opencv-python-headless{which}") for which in ("==4.10.0.84", "<5", "")),
    Runtime("onnx {onnx}, its reference evaluator", "reference", ("onnx",), faulty=True),
    Runtime("onnxsim {onnxsim}, then ONNX Runtime {onnxruntime}", "onnxsim", ("onnxsim", "onnx", "onnxruntime")),
    Runtime("onnxslim {onnxslim}, then ONNX Runtime {onnxruntime}", "onnxslim", ("onnxslim", "onnx", "onnxruntime")),
    Runtime("MNN {mnn}", "MNN", ("MNN", "numpy")),
    Runtime("tract {tract}", "tract", ("tract", "numpy"), faulty=True),
    Runtime("fcnrt itself, with the oldest numpy: {numpy}", "fcnrt", ("numpy==1.26.0", f"{ROOT}[cpu]")),
)


@dataclass
class Outcome:
    """What a runtime made of the files.

    Attributes:
        title: with versions.
        python: its version; empty where it was not run.
        files: of each file, for each shape of frames, the share of labels that are fcnrt's, or an error.
        reason: why it was not run.
    """

    title: str
    python: str = ""
    files: dict[str, dict[str, float | str]] = dataclasses.field(default_factory=dict)
    reason: str = ""


def main(names: list[str]) -> list[Row]:
    """The files in these runtimes, or in all; the page is written where all files were."""
    known = [runtime.name for runtime in RUNTIMES]
    if unknown := set(names) - set(known):
        raise SystemExit(f"runtimes: expected one of {', '.join(known)}; got {', '.join(sorted(unknown))}")
    if not names:
        shutil.rmtree(FOLDER, ignore_errors=True)
    asked = [runtime for runtime in RUNTIMES if (runtime.name in names if names else not runtime.asked)]
    rows = [tried("files", files_made), *(tried(each.name, lambda each=each: row(each)) for each in asked)]  # type: ignore[misc]
    outcomes = kept()
    print("\n".join(table(outcomes)))
    if all(kept_at(runtime).exists() or runtime.asked for runtime in RUNTIMES) and extent() == "all":
        PAGE.write_text(page_with(outcomes, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        print(PAGE.relative_to(ROOT))
    return rows


def files_made() -> Row:
    if not FILES.exists():
        export(*(SOME if extent() == "some" else ()))
    return Row("files", f"{len(list(FILES.glob('*.onnx')))} exported")


def row(runtime: Runtime) -> Row:
    """What a runtime makes of the files, kept for the table too."""
    outcome = run(runtime)
    keep(runtime, outcome)
    found = faults(outcome)
    known = " (known)" if found and runtime.faulty else ""
    return Row(runtime.name, told(outcome) + known, failed=found > 0 and not runtime.faulty)


def export(*networks: str) -> None:
    """Make the files, whole or not at all."""
    print("exporting the tiny networks", flush=True)
    part = FILES.with_name("part")
    shutil.rmtree(part, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(HELPERS)}
    command = [sys.executable, str(HERE / "files.py"), str(part), *networks]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    part.rename(FILES)


def run(runtime: Runtime) -> Outcome:
    """Install a runtime, and give it all files."""
    print(f"{runtime.name}: installing", flush=True)
    try:
        return (in_browser if runtime.adapter in IN_BROWSER else in_python)(runtime)
    except NotInstalled as reason:
        return Outcome(runtime.name, reason=str(reason))


def in_python(runtime: Runtime) -> Outcome:
    version, python = python_with(runtime.packages, environment_of(runtime))
    print(f"{runtime.name}: running on Python {version}", flush=True)
    files = labelled([str(python), str(HERE / "inside.py"), runtime.adapter, str(FILES)])
    return Outcome(runtime.title.format_map(versions(python)), version, files)


def in_browser(runtime: Runtime) -> Outcome:
    folder = environment_of(runtime)
    (package,) = runtime.packages
    title = runtime.title.format_map({package: node_modules_with(package, folder)})
    print(f"{runtime.name}: running in Chromium", flush=True)
    command = [sys.executable, str(HERE / "browser.py"), str(folder), runtime.adapter, str(FILES)]
    return Outcome(title, "", labelled(command, helpers=True))


def environment_of(runtime: Runtime) -> Path:
    return FOLDER / "environments" / runtime.file_name


def labelled(command: list[str], helpers: bool = False) -> dict[str, dict[str, float | str]]:
    """What a runtime makes of the files; one that ends the process is named, and the next process goes on after it."""
    names = sorted(path.name for path in FILES.glob("*.onnx"))
    files: dict[str, dict[str, float | str]] = {}
    while names:
        ending, lines = printed([*command, *names], helpers)
        files.update({line["file"]: line["shares"] for line in lines})
        if names := [name for name in names if name not in files]:
            files[names.pop(0)] = {"every shape": ending}
    return files


def keep(runtime: Runtime, outcome: Outcome) -> None:
    path = kept_at(runtime)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(outcome)), encoding="utf-8")


def kept_at(runtime: Runtime) -> Path:
    return FOLDER / "outcomes" / f"{runtime.file_name}.json"


def kept() -> list[Outcome]:
    """Of the runtimes that have been run, in the table's order."""
    return [Outcome(**json.loads(path.read_text())) for path in map(kept_at, RUNTIMES) if path.exists()]
