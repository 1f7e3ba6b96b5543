"""One command for all: the scripts' parsers and functions under other names, help, and what a near miss is told."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import fcnrt
from exports import Export
from fcnrt.cli import scripts
from fcnrt.cli.main import main
from fcnrt.errors import fcnrt_command, pip_install
from processes import run

COMMANDS = ["segment", "serve", "info", *scripts.SCRIPTS]


def words_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    try:
        status: object = main(words)
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command in ("train", "parity"):
        pytest.importorskip("torch")
    status, out, err = words_of(capsys, command, "--help")
    assert (status, err) == (0, "") and out.startswith(f"usage: fcnrt {command} ")
    assert words_of(capsys, "help", command) == (status, out, err)


@pytest.mark.parametrize("words", [(), ("help",), ("--help",)])
def test_alone_it_lists_the_commands(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = words_of(capsys, *words)
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("    ")}
    assert status == 0 and listed >= set(COMMANDS)


def test_where_the_reader_goes_away_it_ends_without_a_word(exported: Export, tmp_path: Path) -> None:
    model, made = exported("torchvision fcn"), tmp_path / "made.onnx"
    commands = [("info", str(model))]
    if find_spec("torch"):
        commands.append(("export", str(model.with_name("torchvision-fcn.pth")), "-o", str(made)))
    reading, writing = os.pipe()
    os.close(reading)
    for words in commands:
        ended = subprocess.run([sys.executable, "-m", "fcnrt", *words], stdout=writing, stderr=subprocess.PIPE)
        assert (ended.returncode, ended.stderr) == (141, b"")
    os.close(writing)
    assert len(commands) == 1 or fcnrt.Segmenter(made, device="cpu").classes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("exprt", "a.pth"), "did you mean export?"),
        (("segment", "a.onnx", "b.png", "--input-sze", "3x4"), "did you mean --input-size?"),
        (("export", "a.pth", "--precison", "fp16"), "did you mean --precision?"),
        (("export", "a.pth", "--precision", "fp61"), "did you mean fp16?"),
        (("build", "a.onnx", "--qqqq"), "unrecognized arguments: --qqqq"),
    ],
)
def test_a_near_miss_is_told_what_was_meant(
    words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = words_of(capsys, *words)
    assert status == 2 and err.rstrip().endswith(expected) and len(err.splitlines()) == 1


def test_what_a_command_needs_is_told_with_its_usage(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = words_of(capsys, "segment")
    assert status == 2 and err.startswith("usage: fcnrt segment ") and err.splitlines()[-1].endswith("model, INPUT")


def test_export_is_to_onnx_under_another_name(exported: Export, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tiny_networks import options_for

    model = exported("torchvision fcn")
    checkpoint = model.with_name("torchvision-fcn.pth")
    flags = options_for("torchvision fcn")
    done = run("-m", "fcnrt", "export", checkpoint, "-o", "net.onnx", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net.onnx").read_bytes() == model.read_bytes()


def test_a_refusal_names_the_command_that_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = words_of(capsys, "export", str(tmp_path / "no.pth"))
    assert status == 1 and err.startswith("fcnrt export: ") and err.count("\n") == 1


def test_versions_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert words_of(capsys, "--version")[1] == f"fcnrt {fcnrt.__version__}\n"
    assert words_of(capsys, "build", "--version")[1] == f"fcnrt build {fcnrt.__version__}\n"


def test_a_command_without_its_packages_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(scripts.SCRIPTS, "train", ("no_such_package.train", "bench", ""))
    status, _, err = words_of(capsys, "train", "--arch", "fcn_resnet50")
    assert status == 1 and err == f"fcnrt train: needs no_such_package: {pip_install('fcnrt[bench]')}\n"


def test_advice_names_this_python_and_where_fcnrt_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    advice = pip_install("fcnrt[video]")
    assert advice.startswith(f"{sys.executable} -m pip install ") and advice.rstrip("'").endswith("[video]")
    assert pip_install("av>=18").endswith("-m pip install 'av>=18'")


def test_commands_that_are_named_work_as_they_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "my env/bin/python"
    python.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    assert fcnrt_command("info x") == "'my env/bin/python' -m fcnrt info x"
    python.with_name("fcnrt").touch(mode=0o755)
    assert fcnrt_command("info x") == "'my env/bin/fcnrt' info x"
    monkeypatch.setenv("PATH", str(python.parent))
    assert fcnrt_command("info x") == "fcnrt info x"
    # That of another environment is not this one.
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "fcnrt").touch(mode=0o755)
    assert fcnrt_command("info x") == "'my env/bin/fcnrt' info x"


def test_advice_can_be_typed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "my net.pth").touch()
    done = run("-m", "fcnrt", "segment", tmp_path / "my net.pth", "x.png", "-o", "out", folder=tmp_path)
    advice = done.stderr.partition("this is a checkpoint: ")[2]
    followed = subprocess.run(advice, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert followed.returncode == 1 and followed.stderr.startswith("fcnrt export: my net.pth: ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("segment", "y.png", "x.onnx", "-o", "out"),
            "the model comes first: {fcnrt} segment MODEL y.png",
        ),
        (("segment", "x.pth", "y.png", "-o", "out"), "got .pth; this is a checkpoint: {fcnrt} export x.pth"),
        (("info", "x.ckpt"), "this is a checkpoint: {fcnrt} export x.ckpt"),
        (
            ("segment", "model", "y.png", "-o", "out"),
            "no suffix; make one of a checkpoint: {fcnrt} export CHECKPOINT",
        ),
        (("segment", "x.onnx", "y.png", "-o", "out"), "x.onnx: no such file; make it with: "),
        (("build", "x.pth"), "expected an ONNX file; this is a checkpoint: {fcnrt} export x.pth"),
        (("build", "x.engine"), "expected an ONNX file; this is an engine: {fcnrt} segment x.engine INPUT"),
    ],
)
def test_a_file_given_to_the_wrong_command_is_told_the_right_one(
    words: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status, _, err = words_of(capsys, *words)
    assert status == 1 and expected.format(fcnrt=fcnrt_command("").strip()) in err and err.count("\n") == 1
