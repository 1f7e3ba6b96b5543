"""Every command and every Python snippet of README and docs/, run as a newcomer runs it.

A command runs as a process of its own in a folder that holds a newcomer's files. What is not run is named in `NOT_RUN`,
with the reason, and its arguments are given to the program's own parser.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from documents import PAGES, Page, Session
from exports import Export
from fcn_bench.data import scenes
from fcn_bench.training.architectures import slim
from fcn_export.commands import to_onnx
from fcn_export.graph.verify import textured_frames
from fcnrt.cli.main import _parser as runtime_parser
from fcnrt.cli.scripts import SCRIPTS
from fcnrt.errors import fcnrt_command
from fcnrt.pictures.writing import write_image
from fcnrt.video import VideoWriter
from places import ROOT
from processes import run
from tiny_networks import tiny

# What a command contains -> why it is not run here.
NOT_RUN = {
    r"^make ": "installs, trains or tests for minutes; CI runs lint and test, tests/benchmarks runs the demo",
    r"/pytest ": "runs these tests",
    r"^npm ": "downloads; `make compatibility` installs it",
    r"http\.server": "runs until it is ended; tests/examples/test_web.py serves the page",
    r"tests/compatibility ": "installs other runtimes; tests/compatibility asks the one that is here",
    r"^pip ": "would change the environment; tests/test_packaging.py installs the wheel",
    r"fcn_resnet50 ": "downloads torchvision's weights",
    r"\.engine|build_engine\.py|fcnrt build": "needs a GPU; tests/export builds for RTX, tests/gpu runs engines",
    r"rtsp://|camera:": "needs a camera; tests/runtime/video has servers",
    r"fcnrt serve|^curl ": "runs until it is ended; tests/runtime/serving asks it",
    r"examples/": "tests/examples runs them",
    r" runs/": "tests/test_docs_own_data.py runs the page from top to bottom",
    r"train\.py|fcnrt train": "needs a data set; tests/benchmarks trains on drawn ones",
    r"parity\.py|fcnrt parity": "needs a data set; tests/benchmarks measures on drawn ones",
    r"five_lines\.py": "needs a data set; tests/benchmarks measures on a drawn one",
    r"(latency|video_rate|tail)\.py": "takes minutes; tests/benchmarks runs short ones",
    r"report\.py": "reads what latency.py wrote; tests/benchmarks makes reports",
    r"--precision int8": "needs frames that look like something; tests/export calibrates on drawn ones",
    r"fcnrt batch ": "needs pyarrow and an archive; tests/runtime/cluster labels a small one",
    r"\.jp2 ": "needs a picture of many bands; tests/runtime/rasters labels some",
    r"--deepstream": "needs a file that another command makes; tests/export/servers runs both",
    r"--require-parity": "needs a certified file; tests/runtime/test_certificate.py makes them",
}
PYTHON_NOT_RUN = {
    '"fcn.onnx"': "shows what not to do",
    "certified.onnx": "needs a certified file; tests/runtime/test_certificate.py makes them",
    "fcnrt.cluster": "needs a Ray cluster; tests/examples runs such a program",
    "table.parquet": "needs what fcnrt batch leaves; tests/runtime/cluster reads it",
    "cv2.dnn.": "needs a file of one size; tests/export/graph/test_other_runtimes.py runs them all",
    "InferenceServer": "serves until it is ended; tests/runtime/serving does, and asks by tritonclient",
    "tritonclient": "needs a server; tests/runtime/serving has one",
    ".cuda()": "needs a GPU; tests/gpu runs torch tensors",
}

SESSIONS = {session.command: session for page in PAGES for session in page.sessions}


@pytest.fixture(scope="module")
def belongings(exported: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the commands name: tiny networks, three frames of film, a picture."""
    folder = tmp_path_factory.mktemp("belongings")
    torch.save(tiny("caffe fcn8s").state_dict(), folder / "fcn8s.pth")
    torch.save(tiny("caffe fcn8s").state_dict(), folder / "model_best.pth.tar")
    for name in ("fcn8s.onnx", "fcn8s-int8.onnx", "model.onnx"):
        shutil.copy(exported("caffe fcn8s"), folder / name)
    frames = list(textured_frames(3, 40, 52, seed=0).numpy())
    with VideoWriter(folder / "street.mp4", 25, (40, 52)) as writer:
        for frame in frames:
            writer.write(frame)
    write_image(folder / "street.jpg", frames[0])
    write_image(folder / "huge.tif", frames[0])
    make_demo(folder / "demo", frames[0])
    return folder


def make_demo(folder: Path, street: np.ndarray) -> None:
    """What `make demo` leaves, but for the training."""
    folder.mkdir()
    torch.manual_seed(0)
    torch.save(slim(len(scenes.CLASSES)).state_dict(), folder / "slim.pth")
    (folder / "classes.txt").write_text("\n".join(scenes.CLASSES) + "\n")
    np.savetxt(folder / "palette.txt", scenes.PALETTE, fmt="%d")
    write_image(folder / "street.png", street)
    assert to_onnx.main([str(folder / "slim.pth"), "--classes", str(folder / "classes.txt")]) == 0


@pytest.fixture
def home(belongings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a newcomer's files in it."""
    shutil.copytree(belongings, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def reason_not_to_run(command: str) -> str | None:
    if is_name(command):
        return None
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command)), None)


def is_name(command: str) -> bool:
    """Whether a page only names a command, as `fcnrt segment`: its help is printed."""
    return bool(re.fullmatch(r"fcnrt [\w-]+", command))


@pytest.mark.parametrize("command", [command for command in SESSIONS if not reason_not_to_run(command)])
def test_command_does_what_the_page_shows(command: str, home: Path) -> None:
    session = SESSIONS[command]
    done = run(*as_installed(command), folder=home)
    printed = (done.stdout + done.stderr).replace(fcnrt_command(""), ".venv/bin/fcnrt ")  # from the clone's folder
    assert done.returncode == (1 if refuses(session) else 0), printed
    assert session.output is None or without_figures(session.output) == without_figures(printed)


def as_installed(command: str) -> list[str]:
    """The arguments of this Python for a command as the pages write it, from the clone's folder."""
    program, *arguments = shlex.split(command)
    if program.endswith("python"):
        return [str(ROOT / arguments[0]), *arguments[1:]] if arguments[0].endswith(".py") else arguments
    assert program.removeprefix(".venv/bin/") == "fcnrt", command
    return ["-m", "fcnrt", *arguments, *(["--help"] if is_name(command) else [])]


def refuses(session: Session) -> bool:
    """Whether the page shows one line that begins with the program's name: a refusal."""
    return bool(re.match(r"(fcnrt( \w+)?|to_onnx|build_engine): ", session.output or ""))


def without_figures(text: str) -> list[str]:
    return [re.sub(r"\d+(\.\d+)?", "#", line.rstrip()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("command", [command for command in SESSIONS if reason_not_to_run(command)])
def test_command_that_is_not_run_is_one_that_we_have(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "npm" or "http.server" in arguments:
        assert (ROOT / arguments[-1] / "package.json").is_file()
    elif program.endswith("python"):
        assert (ROOT / arguments[0]).exists()
        if arguments[1:] and not arguments[0].startswith(("examples/", "tests/")):
            parser_of(arguments[0]).parse_args(arguments[1:])
    elif program.endswith("pytest"):
        assert all((ROOT / name).exists() for name in arguments)
    elif program.endswith("fcnrt"):
        module = SCRIPTS.get(arguments[0], [None])[0]
        parser = importlib.import_module(module)._parser() if module else runtime_parser()
        parser.parse_args(arguments[1:] if module else arguments)
    elif program == "curl":
        assert re.search(r" http://127\.0\.0\.1:8000/(segment|metrics|v2)\b", command)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{target}:", makefile, flags=re.M) for target in arguments if "=" not in target)
    else:
        extras = ",".join(re.findall(r"\[([\w,-]+)\]", command)).split(",")
        config = (ROOT / "setup.cfg").read_text()
        assert program == "pip" and all(f"\n{extra} =\n" in config for extra in extras if extra)


def parser_of(script: str) -> argparse.ArgumentParser:
    """The parser of a script, which is a thin one over a command of the same name."""
    folder, name = Path(script).parts[0], Path(script).stem
    package = {"export": "fcn_export", "benchmarks": "fcn_bench"}[folder]
    return importlib.import_module(f"{package}.commands.{name}")._parser()


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_reason_not_to_run_is_needed(pattern: str) -> None:
    assert any(re.search(pattern, command) for command in SESSIONS)


@pytest.mark.parametrize("page", [page for page in PAGES if page.blocks("python")], ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Page, home: Path) -> None:
    frames = list(textured_frames(3, 40, 51, seed=0).numpy())
    names = {"frame": frames[0], "frames": frames, "picture": frames[0], "np": np}
    for block in page.blocks("python"):
        code = compile(block, page.name, "exec")
        if not any(marker in block for marker in PYTHON_NOT_RUN):
            exec(code, names)
    if "labels" in names:
        assert names["labels"].shape[-2:] in ((40, 51), (40, 52)) and names["labels"].dtype == np.uint8
