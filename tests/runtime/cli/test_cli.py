"""The `fcnrt` command: what it writes, prints and refuses."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import fcnrt
from exports import Export
from fcnrt.cli import run
from fcnrt.cli.jobs import plan_jobs
from fcnrt.cli.main import main
from fcnrt.pictures import legends
from fcnrt.pictures.writing import write_image
from fcnrt.video import Frame, FrameSource, VideoWriter, open_source
from frames import frames_of
from network_names import CLASSES

SIZE = (45, 62)
PATIENCE_S = 60  # for what must happen; nothing is timed


@pytest.fixture(scope="module")
def model(exported: Export) -> str:
    return str(exported("torchvision fcn"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for index, frame in enumerate(frames_of(3, *SIZE, seed=6)):
        write_image(folder / f"street{index}.png", frame)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "drive.mp4"
    with VideoWriter(path, 12.5, (46, 64)) as writer:
        for frame in frames_of(5, 46, 64, seed=7):
            writer.write(frame)
    return path


def test_pictures_give_palette_labels_and_overlays(model: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["segment", model, str(pictures), "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"street{index}_{kind}.png" for index in range(3) for kind in ("labels", "overlay")
    )
    with fcnrt.Segmenter(model) as segment:
        for index in range(3):
            frame = np.asarray(Image.open(pictures / f"street{index}.png"))
            labels = Image.open(out / f"street{index}_labels.png")
            assert labels.mode == "P" and np.array_equal(np.asarray(labels), segment(frame))
            assert labels.getpalette()[: 3 * CLASSES] == segment.palette.ravel().tolist()
            expected = fcnrt.overlay(frame, segment(frame), segment.palette)
            assert np.array_equal(np.asarray(Image.open(out / f"street{index}_overlay.png")), expected)


@pytest.mark.parametrize(("flag", "kind"), [("--labels", "labels"), ("--overlay", "overlay")])
def test_one_kind_alone(flag: str, kind: str, model: str, pictures: Path, tmp_path: Path) -> None:
    assert main(["segment", model, f"{pictures}/street[01].png", "-o", str(tmp_path / "out"), flag]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"street0_{kind}.png", f"street1_{kind}.png"}


def test_grey_labels(model: str, pictures: Path, clip: Path, tmp_path: Path) -> None:
    arguments = ["segment", model, str(pictures / "street0.png"), str(clip), "-o", str(tmp_path / "out"), "--labels"]
    assert main([*arguments, "--label-format", "grey"]) == 0
    for path in (tmp_path / "out/street0_labels.png", tmp_path / "out/drive_labels/000000.png"):
        with Image.open(path) as picture:
            assert picture.mode == "L" and fcnrt.read_labels(path).max() < CLASSES


def test_alpha(model: str, pictures: Path, tmp_path: Path) -> None:
    arguments = ["segment", model, str(pictures / "street0.png"), "-o", str(tmp_path / "out"), "--overlay"]
    assert main([*arguments, "--alpha", "0"]) == 0
    made, given = tmp_path / "out/street0_overlay.png", pictures / "street0.png"
    assert np.array_equal(np.asarray(Image.open(made)), np.asarray(Image.open(given)))


def test_video_gives_an_overlay_of_all_frames(model: str, clip: Path, tmp_path: Path) -> None:
    assert main(["segment", model, str(clip), "-o", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drive_overlay.mp4"]
    with open_source(tmp_path / "out/drive_overlay.mp4") as made:
        assert made.rate == 12.5 and made.size == (46, 64)
        assert [float(frame.time) for frame in made] == pytest.approx([index / 12.5 for index in range(5)])


def test_labels_of_a_video_are_a_folder_of_pictures(model: str, clip: Path, tmp_path: Path) -> None:
    arguments = ["segment", model, str(clip), "-o", str(tmp_path / "out"), "--labels"]
    assert main(arguments) == 0
    folder = tmp_path / "out/drive_labels"
    assert [path.name for path in sorted(folder.iterdir())] == [f"{index:06d}.png" for index in range(5)]
    (folder / "000099.png").write_bytes(b"of a longer run")
    assert main([*arguments, "--force"]) == 0
    assert len(list(folder.iterdir())) == 5


def test_existing_files_stay_without_force(
    model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "street2_labels.png").write_bytes(b"mine")
    assert main(["segment", model, str(pictures), "-o", str(out)]) == 1
    assert "street2_labels.png exists; add --force" in capsys.readouterr().err
    assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]
    assert main(["segment", model, str(pictures), "-o", str(out), "--force"]) == 0
    assert len(list(out.iterdir())) == 6


def test_inputs_of_one_name_keep_their_folders(model: str, pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "street0.png").write_bytes((pictures / "street0.png").read_bytes())
    out = tmp_path / "out"
    assert main(["segment", model, str(pictures), str(other), "-o", str(out), "--labels"]) == 0
    made = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert made == {*(f"in/street{index}_labels.png" for index in range(3)), "other/street0_labels.png"}


def test_a_tree_is_mirrored(model: str, pictures: Path, tmp_path: Path) -> None:
    deep = pictures / "day/noon"
    deep.mkdir(parents=True)
    (pictures / "street0.png").rename(deep / "street0.png")
    (pictures / "street1.png").rename(pictures / "day/street1.png")
    assert main(["segment", model, f"{pictures}/**/*.png", "-o", str(tmp_path / "out"), "--labels"]) == 0
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert made == {"day/noon/street0_labels.png", "day/street1_labels.png", "street2_labels.png"}


def test_what_is_passed_over_in_a_folder_is_told(
    model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "notes.txt").touch()
    assert main(["segment", model, str(pictures), "-o", str(tmp_path / "out")]) == 0
    line = f"fcnrt: {pictures}: passed over 1, no pictures or videos: notes.txt\n"
    assert capsys.readouterr().err == line
    assert main(["segment", model, str(pictures), "-o", str(tmp_path / "film.mp4")]) == 0
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("place", ["open_source", "Pipeline", "open_sink"])
def test_what_nobody_foresaw_ends_one_job_alone(
    place: str, model: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A source, a decoder under way, and a sink that raise what they should not."""
    films = [clip, Path(shutil.copy(clip, tmp_path / "broken.mp4")), Path(shutil.copy(clip, tmp_path / "other.mp4"))]
    usual = getattr(run, place)

    def failing(first: Any, *words: Any, **options: Any) -> Any:
        if place == "Pipeline" and "broken" in first.name:
            return usual(Failing(first), *words, **options)
        if "broken" in str(first):
            raise ValueError("neither\nforeseen\x1b[31m nor handled")
        return usual(first, *words, **options)

    monkeypatch.setattr(run, place, failing)
    assert main(["segment", model, *map(str, films), "-o", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and f"fcnrt: {tmp_path}/broken.mp4: ValueError: neither" in captured.err
    assert {"drive_overlay.mp4", "other_overlay.mp4"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert not list((tmp_path / "out").glob(".fcnrt*"))


class Failing:
    """A source whose decoder fails after two frames."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Iterator[Frame]:
        yield from itertools.islice(self._source, 2)
        raise ValueError("neither foreseen nor handled")


def test_inputs_are_never_overwritten(
    model: str, pictures: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = pictures / "street0_overlay.png"
    name.write_bytes((pictures / "street1.png").read_bytes())
    before = name.read_bytes()
    assert main(["segment", model, str(pictures), "-o", str(pictures), "--force"]) == 1
    assert "street0_overlay.png would overwrite an input; choose another -o" in capsys.readouterr().err
    folder = pictures / "drive_labels"
    folder.mkdir()
    inside = clip.rename(folder / "drive.mp4")
    assert main(["segment", model, str(inside), "-o", str(pictures), "--labels", "--force"]) == 1
    assert name.read_bytes() == before and inside.is_file()


def test_forced_label_folder_keeps_what_is_not_ours(model: str, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out/drive_labels"
    folder.mkdir(parents=True)
    (folder / "precious.txt").write_text("mine")
    assert main(["segment", model, str(clip), "-o", str(tmp_path / "out"), "--labels", "--force"]) == 0
    assert (folder / "precious.txt").read_text() == "mine" and len(list(folder.iterdir())) == 6


def test_broken_input_is_named_and_passed_over(
    model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "street1.png").write_bytes(b"no picture")
    assert main(["segment", model, str(pictures), "-o", str(tmp_path / "out"), "--labels"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "street1.png: expected a picture" in captured.err
    assert captured.out.startswith("2 frames in ")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"street0_labels.png", "street2_labels.png"}


def test_pictures_two_at_once(exported: Export, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, of several sizes, each fault with its own picture's name."""
    monkeypatch.setattr("fcnrt.backends.pair.GAIN", 1e9)  # from the second picture on
    model, folder, out = exported("tramac fcn16s"), tmp_path / "in", tmp_path / "out"
    capsys.readouterr()
    sizes = [(45, 62), (20, 70), (50, 33), (45, 62), (64, 40), (31, 64), (45, 62)]
    frames = {f"{index}.png": frames_of(1, *size, seed=index)[0] for index, size in enumerate(sizes)}
    folder.mkdir()
    for name, frame in frames.items():
        write_image(folder / name, frame)
    (folder / "3.png").write_bytes(b"no picture")
    assert main(["segment", str(model), str(folder), "-o", str(out), "--labels", "--threads", "2"]) == 1
    captured = capsys.readouterr()
    told = [line.split(": ")[1:3] for line in captured.err.splitlines()]
    what = ["frames", "expected a picture, got a file of another or unknown format", "frames"]
    assert told == [[str(folder / f"{index}.png"), words] for index, words in zip((1, 3, 5), what, strict=True)]
    assert captured.out.startswith("4 frames in ")
    with fcnrt.Segmenter(model, color="rgb", threads=2) as segment:
        for index in (0, 2, 4, 6):
            labels = np.array(Image.open(out / f"{index}_labels.png"))
            assert np.array_equal(labels, segment(frames[f"{index}.png"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "missing.onnx", "IN", "-o", "OUT"], "missing.onnx: no such file"),
        (["segment", "MODEL", "nowhere.png", "-o", "OUT"], "nowhere.png"),
        (["segment", "MODEL", "IN", "-o", "OUT", "--device", "tpu"], "expected auto, cpu, cuda or cuda:N"),
        (["info", "missing.onnx"], "missing.onnx: no such file"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], message: str, model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"MODEL": model, "IN": str(pictures), "OUT": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fcnrt: ") and error.count("\n") == 1 and message in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment"],
        ["segment", "m.onnx", "x.png"],
        ["segment", "m.onnx", "x.mp4", "-o", "out", "--rtsp-reconnect-attempts", "-1"],
        ["segment", "m.onnx", "x.mp4", "-o", "out", "--timeout", "0"],
        ["segment", "m.onnx", "x.png", "-o", "out", "--alpha", "1.5"],
        ["segment", "m.onnx", "x.png", "-o", "out", "--threads", "0"],
        ["stretch"],
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_info_tells_sizes_that_are_fixed(exported: Export, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(exported("torchvision fcn", "--height", "65", "--width", "97"))]) == 0
    assert "frames      uint8 rgb, any x 65 x 97 alone (batch x height x width)\n" in capsys.readouterr().out


def test_info_prints_what_the_file_says(exported: Export, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(exported("caffe fcn8s"))]) == 0
    printed = capsys.readouterr().out
    for text in ("caffe fcn8s", "7: class 0, class 1", "(frame * 1 - (122.679, 116.669, 104.007)) / (1, 1, 1)", "fp32"):
        assert text in printed
    assert "deconv, stride 8, offset 31" in printed


@contextlib.contextmanager
def run_aside(*words: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, which does not outlive the test."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fcnrt.__file__).parents[1])}
    command = [sys.executable, "-m", "fcnrt", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as aside:
        try:
            yield aside
        finally:
            aside.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_whole_files(number: signal.Signals, model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with run_aside("segment", model, "test:49x67@25", "-o", out, "--overlay", "--labels", "--stats") as aside:
        until = time.monotonic() + PATIENCE_S
        while not (out / "test_labels/000009.png").exists():
            assert aside.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        aside.send_signal(number)
        _, error = aside.communicate(timeout=PATIENCE_S)
    assert aside.returncode == 130 and error.decode().splitlines()[-1].startswith("fcnrt: interrupted; the files")
    assert {path.name for path in out.iterdir()} == {"test_labels", "test_overlay.mp4"}
    with open_source(out / "test_overlay.mp4") as made:
        frames, labels = sum(1 for _ in made), len(list((out / "test_labels").iterdir()))
    assert labels >= 10 and abs(frames - labels) <= 1  # it may come when one sink has the last frame and one has not


@pytest.mark.parametrize("place", ["Segmenter", "open_source"])
def test_an_interrupt_while_libraries_are_loaded_ends_at_once(place: str, model: str, tmp_path: Path) -> None:
    """As an exception it would meet an engine's own code, which crashes; here nobody may catch it."""
    script = f"""
import os, signal, sys
from fcnrt.cli import main, model, run
def interrupted(*words, **options):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
    except BaseException:
        sys.exit("an exception")
{"run" if place == "open_source" else "model"}.{place} = interrupted
sys.exit(main.main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", script, "segment", model, "test:*3", "-o", str(tmp_path / "film.mp4")]
    environment = {**os.environ, "PYTHONPATH": str(Path(fcnrt.__file__).parents[1])}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stderr) == (130, "fcnrt: interrupted; the files written so far are whole\n")


def test_a_second_interrupt_does_not_disturb_the_first(model: str, tmp_path: Path) -> None:
    """Sent as soon as the first is being obeyed, which takes a while: many frames wait, none may be lost."""
    film = tmp_path / "film.mp4"
    with run_aside("segment", model, "test:480x640@25", "-o", film) as aside:
        until = time.monotonic() + PATIENCE_S
        while not list(tmp_path.glob(".fcnrt-*")):
            assert aside.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.2)
        aside.send_signal(signal.SIGINT)
        time.sleep(0.01)
        aside.send_signal(signal.SIGTERM)
        _, error = aside.communicate(timeout=PATIENCE_S)
    assert aside.returncode == 130 and error.decode().splitlines() == [
        "fcnrt: interrupted; the files written so far are whole"
    ]
    assert list(tmp_path.iterdir()) == [film]
    with open_source(film) as made:
        assert sum(1 for _ in made)


def test_a_third_interrupt_ends_what_cannot_finish(model: str) -> None:
    """A reader that does not read holds the writing thread for ever."""
    with run_aside("segment", model, "test:480x640@25", "-o", "-") as aside:
        assert aside.stdout and len(aside.stdout.read(1000)) == 1000
        until = time.monotonic() + PATIENCE_S
        while aside.poll() is None and time.monotonic() < until:
            aside.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert aside.returncode == 130


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_standard_stream_is_no_hindrance(
    stream: str, model: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, stream, None)
    assert main(["segment", model, str(clip), "-o", str(tmp_path / "film.mp4"), "--stats"]) == 0
    assert (tmp_path / "film.mp4").exists()
    getattr(sys, stream).close()


def test_an_address_longer_than_any_file_name_is_no_file(
    model: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signed addresses are."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/{clip.name}?signature={300 * 's'}"
            assert main(["segment", model, address, "-o", str(tmp_path / "film.mp4")]) == 0
        finally:
            server.shutdown()
    assert "sss" not in "".join(capsys.readouterr()) and (tmp_path / "film.mp4").exists()


def test_one_video_to_one_video(model: str, clip: Path, tmp_path: Path) -> None:
    assert main(["segment", model, str(clip), "-o", str(tmp_path / "film.mkv"), "--boundaries", "--legend"]) == 0
    with open_source(tmp_path / "film.mkv") as made:
        assert sum(1 for _ in made) == 5


def test_legends_list_what_is_present_or_all(model: str, clip: Path, tmp_path: Path, monkeypatch: Any) -> None:
    listed: list[set[int]] = []

    def fitted(self: Any, labels: Any, size: Any) -> None:
        listed.append(set(labels))

    monkeypatch.setattr(legends.CornerLegend, "_fitted", fitted)
    seen = set().union(*(legends.seen_in(labels) for labels in labels_of(model, str(clip))))
    for flags in (["--legend"], ["--legend", "present"], ["--legend=all"]):
        assert main(["segment", model, str(clip), "-o", str(tmp_path / f"{len(listed)}.mkv"), *flags]) == 0
        assert listed[-1] == (set(range(CLASSES)) if flags == ["--legend=all"] else seen)


def test_a_legend_of_each_picture(model: str, pictures: Path, tmp_path: Path, monkeypatch: Any) -> None:
    begun: list[None] = []
    monkeypatch.setattr(legends.CornerLegend, "begin", lambda self: begun.append(None))
    assert main(["segment", model, str(pictures), "-o", str(tmp_path / "out"), "--overlay", "--legend"]) == 0
    assert len(begun) == 3


def test_a_legend_of_something_else_is_refused(model: str, clip: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["segment", "--legend", model, str(clip), "-o", "a.mkv"])
    assert "expected all or present, got" in capsys.readouterr().err


def labels_of(model: str, source: str) -> list[np.ndarray]:
    with fcnrt.Segmenter(model, color="rgb") as segment, open_source(source) as frames:
        return [segment(frame.pixels) for frame in frames]


def test_a_label_video_has_the_palettes_colours(model: str, tmp_path: Path) -> None:
    source = "test:49x67@25*4"
    assert main(["segment", model, source, "-o", str(tmp_path / "labels.mp4"), "--labels"]) == 0
    palette = fcnrt.Segmenter(model).palette
    with open_source(tmp_path / "labels.mp4") as made:
        for frame, labels in zip(made, labels_of(model, source), strict=True):
            assert np.array_equal(frame.pixels, palette[labels])


def test_bare_labels_go_to_the_standard_output(model: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    source = "test:49x67@25*4"
    assert main(["segment", model, source, "-o", "-", "--stats"]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out == b"".join(labels.tobytes() for labels in labels_of(model, source))
    assert b"4 frames in" in captured.err and b"write labels" in captured.err


def test_a_reader_that_goes_away_gets_one_line(model: str) -> None:
    with run_aside("segment", model, "test:49x67@25", "-o", "-") as aside:
        assert aside.stdout and aside.stderr and len(aside.stdout.read(49 * 67)) == 49 * 67
        aside.stdout.close()
        assert aside.wait(PATIENCE_S) == 1
        lines = aside.stderr.read().decode().splitlines()
    assert "the reader went away after " in lines[0] and len(lines) == 2 and " frames in " in lines[1]


def test_pictures_become_a_film(model: str, pictures: Path, tmp_path: Path) -> None:
    assert main(["segment", model, str(pictures), "-o", str(tmp_path / "film.mp4")]) == 0
    with open_source(tmp_path / "film.mp4") as made:
        assert [float(frame.time) for frame in made] == pytest.approx([0, 0.04, 0.08])


def test_statistics_are_printed_on_demand(
    model: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["segment", model, str(clip), "-o", str(tmp_path / "out"), "--stats"]) == 0
    lines = capsys.readouterr().err.splitlines()
    lines = lines[next(index for index, line in enumerate(lines) if line.startswith("stage")) :]  # behind the engine's
    assert [line.split()[0] for line in lines[:5]] == ["stage", "decode", "segment", "draw", "write"]
    assert lines[5].startswith("5 frames in ") and lines[5].endswith("; 5 decoded, 0 dropped")


def test_a_window_shows_and_ends(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert main(["segment", model, "test:49x67@25*3", "--show"]) == 0
    assert capsys.readouterr().out.startswith("3 frames in ")


def test_a_video_that_ends_early_gives_what_it_has(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.ts"
    with av.open(str(cut), "w", format="mpegts") as container, open_source("test:64x96@25*100") as frames:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "5"})
        stream.width, stream.height = 96, 64
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.pixels)))
        container.mux(stream.encode(None))
    assert main(["segment", model, str(cut), "-o", str(whole)]) == 0
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert main(["segment", model, str(whole), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "whole.mp4: " in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.mp4", "b.mp4", "-o", "film.mp4"], "-o film.mp4: expected one input, got 2; name a folder"),
        (["a.mp4", "-o", "film.mp4", "--labels", "--overlay"], "expected --labels or --overlay, got both"),
        (["a.mp4", "-o", "-", "--labels", "--overlay"], "-o -: expected --labels or --overlay, got both"),
        (["IN", "-o", "film.mkw"], "ends in .mkw; did you mean .mkv? a folder"),
        (["IN", "-o", "ov.avi"], "-o ov.avi: expected a folder, a picture ("),
        (["IN", "-o", "ov.avi"], "got a name that ends in .avi; a folder of that name ends in /"),
        (["IN", "-o", "street.png"], "-o street.png: expected one picture as input, got "),
        (["IN", "-o", os.devnull], f"-o {os.devnull}: expected a folder, a picture ("),
        (["IN", "-o", ""], "-o '': expected a folder, a picture ("),
        (["IN", "-o", "http://me:secret@server/out"], "-o http://server/out: expected a folder, a picture ("),
        (["IN", "-o", "srt://127.0.0.1:9"], "got another one"),
        (["IN", "-o", "rtsp://me:secret@127.0.0.1:9/x"], "rtsp://127.0.0.1:9/x: Connection refused"),
        (["IN", "-o", "-", "--overlay"], "-: expected labels for - (the standard output), got an overlay"),
        (["IN", "-o", "IN"], "would overwrite an input"),
        (["missing.mp4", "-o", "film.mp4"], "missing.mp4: "),
        (["gopher://camera/1", "-o", "film.mp4"], "gopher://camera/1: expected an address that begins with rtsp"),
        (["rtsp://me:secret@127.0.0.1:9/x", "-o", "film.mp4"], "rtsp://127.0.0.1:9/x: "),
    ],
)
def test_what_a_sequence_refuses(
    words: list[str],
    message: str,
    model: str,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["segment", model, *(str(clip) if word == "IN" else word for word in words)]) == 1
    captured = capsys.readouterr()
    error = captured.err
    assert "->" not in captured.out  # nothing was written
    assert error.startswith("fcnrt: ") and error.count("\n") == 1 and message in error and "secret" not in error
    assert [path.name for path in tmp_path.iterdir()] == [clip.name]


@pytest.mark.parametrize(
    ("address", "stem"),
    [
        ("rtsp://me:se[cret@camera/live/street", "street"),
        ("rtsp://me:sec/ret@camera:554", "camera"),
        ("rtsp://me:sec?ret@[fe80::1]:554/", "fe801"),
        ("http://host/a.m3u8?token=1", "a"),
        ("camera:2", "camera2"),
        ("/dev/video2", "video2"),
        ("test:480x640@30000/1001*9", "test"),
    ],
)
def test_files_of_streams_are_named_after_what_may_be_told(address: str, stem: str) -> None:
    (job,) = plan_jobs([address], "out", labels=False, overlay=False).jobs
    assert job.outputs == ((f"out/{stem}_overlay.mp4", "overlay"),)


def names_of(*inputs: str) -> list[str]:
    jobs = plan_jobs(inputs, "out", labels=False, overlay=True).jobs
    return [job.outputs[0].where.removeprefix("out/").removesuffix("_overlay.mp4") for job in jobs]


def test_streams_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert names_of("rtsp://me:secret@a/1", "rtsp://b:8554/1", "rtsp://b/2") == ["a_1", "b8554_1", "2"]
    assert names_of("rtsp://me:secret@a/1", "rtsp://me:secret@a/1") == ["1"]
    assert names_of("-", "camera:0", "/dev/video0") == ["stdin", "camera0", "video0"]


def test_files_of_one_name_take_their_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.mp4", "a/x.mkv", "b/x.mp4", "b/y.mp4", "b/Y.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert names_of("a", "b/x.mp4") == ["a/x.mkv", "a/x.mp4", "b/x"]
    assert names_of("a/x.mp4", "./a/x.mp4", "b/y.mp4") == ["x", "y"]


def test_runs_as_a_module_and_spills_nothing(model: str, pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fcnrt", "segment", model, pictures, "-o", tmp_path / "out"]
    runtime = str(Path(fcnrt.__file__).parents[1])
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": runtime}, check=True)
    assert run.stderr == "" and run.stdout.startswith("3 frames in ")


def test_one_picture_to_one_picture(model: str, pictures: Path, tmp_path: Path) -> None:
    given, made = pictures / "street1.png", tmp_path / "seen.png"
    with fcnrt.Segmenter(model, color="rgb") as segment:
        labels = segment(np.asarray(Image.open(given)))
        overlay = fcnrt.overlay(np.asarray(Image.open(given)), labels, segment.palette)
    assert main(["segment", model, str(given), "-o", str(made)]) == 0
    assert np.array_equal(np.asarray(Image.open(made)), overlay)
    assert main(["segment", model, str(given), "-o", str(made), "--labels", "--force"]) == 0
    assert np.array_equal(np.asarray(Image.open(made)), labels)
    assert main(["segment", model, str(given), "-o", str(tmp_path / "labels.jpg"), "--labels"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "seen.png"]


def test_a_folder_with_a_dot_in_its_name(model: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.v2"
    assert main(["segment", model, str(pictures), "-o", f"{out}/"]) == 0
    assert main(["segment", model, str(pictures), "-o", str(out), "--force"]) == 0
    assert len(list(out.iterdir())) == 6


def test_large_pictures_in_tiles_of_a_given_size(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "large.png", frames_of(1, 405, 611, seed=6)[0])
    arguments = [model, str(tmp_path / "large.png"), "--labels", "--device", "cpu"]
    assert main(["segment", *arguments, "-o", str(tmp_path / "whole.png"), "--tile", "off"]) == 0
    assert "tiles" not in capsys.readouterr().err
    assert main(["segment", *arguments, "-o", str(tmp_path / "tiles.png"), "--tile", "256"]) == 0
    assert "large.png: 405x611 in " in (told := capsys.readouterr().err) and " tiles of at most " in told
    assert (tmp_path / "tiles.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


@pytest.mark.parametrize("word", ["0", "-1", "some", "1.5", ""])
def test_tiles_of_no_size(word: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", model, "x.png", "-o", "y.png", f"--tile={word}"])
    assert f"expected auto, off or a tile's side in pixels, such as 2048, got {word!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *(["segment", "m", "x", "-o", "y", flag, f"{before}{'9' * 5000}"]
          for flag, before in {"--tile": "", "--input-size": "4x", "--roi": "0,0,5,", "--every": "", "--levels": "0-",
                               "--bitrate": "", "--serve": "", "--bands": "1,2,", "--threads": ""}.items()),
        ["serve", "m", "--port", "9" * 5000],
        ["segment", "m", f"test:{'9' * 5000}x38*1", "-o", "y"],
        ["segment", "m", "x", "-o", "y", f"--no-such-{'9' * 5000}"],
    ],
)  # fmt: skip
def test_numbers_of_thousands_of_digits_are_a_short_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main(words) == 1
    except SystemExit as ended:
        assert ended.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("fcnrt") and len(line) < 300
