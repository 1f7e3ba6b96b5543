"""The `fcnrt` command: what it writes, prints and refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcnrt
from conftest import Export
from fcnrt.__main__ import main
from fcnrt.video import VideoReader, VideoWriter, write_image
from tiny_networks import CLASSES
from verify import textured_frames

SIZE = (45, 62)


@pytest.fixture(scope="module")
def model(exported: Export) -> str:
    return str(exported("torchvision fcn"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for index, frame in enumerate(textured_frames(3, *SIZE, seed=6).numpy()):
        write_image(folder / f"street{index}.png", frame)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "drive.mp4"
    with VideoWriter(path, 12.5, (46, 64)) as writer:
        for frame in textured_frames(5, 46, 64, seed=7).numpy():
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


def test_alpha(model: str, pictures: Path, tmp_path: Path) -> None:
    arguments = ["segment", model, str(pictures / "street0.png"), "-o", str(tmp_path / "out"), "--overlay"]
    assert main([*arguments, "--alpha", "0"]) == 0
    made, given = tmp_path / "out/street0_overlay.png", pictures / "street0.png"
    assert np.array_equal(np.asarray(Image.open(made)), np.asarray(Image.open(given)))


def test_video_gives_an_overlay_of_all_frames(model: str, clip: Path, tmp_path: Path) -> None:
    assert main(["segment", model, str(clip), "-o", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drive_overlay.mp4"]
    with VideoReader(tmp_path / "out/drive_overlay.mp4") as reader:
        assert reader.rate == 12.5 and reader.size == (46, 64) and len(list(reader)) == 5


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


def test_inputs_of_one_name_are_refused(
    model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "street0.png").write_bytes((pictures / "street0.png").read_bytes())
    assert main(["segment", model, str(pictures), str(other), "-o", str(tmp_path / "out")]) == 1
    assert "would both make" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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
        [],
        ["segment"],
        ["segment", "m.onnx", "x.png"],
        ["segment", "m.onnx", "x.png", "-o", "out", "--alpha", "1.5"],
        ["segment", "m.onnx", "x.png", "-o", "out", "--threads", "0"],
        ["stretch"],
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_info_prints_what_the_file_says(exported: Export, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(exported("caffe fcn8s"))]) == 0
    printed = capsys.readouterr().out
    for text in ("caffe fcn8s", "7: class 0, class 1", "(frame * 1 - (122.679, 116.669, 104.007)) / (1, 1, 1)", "fp32"):
        assert text in printed
    assert "deconv, stride 8, offset 31" in printed


def test_interrupt_leaves_whole_files(
    model: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, written = VideoWriter.write, []

    def interrupted(self: VideoWriter, frame: np.ndarray) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(1)
        write(self, frame)

    monkeypatch.setattr(VideoWriter, "write", interrupted)
    assert main(["segment", model, str(clip), "-o", str(tmp_path / "out")]) == 130
    assert "interrupted" in capsys.readouterr().err
    with VideoReader(tmp_path / "out/drive_overlay.mp4") as reader:
        assert len(list(reader)) == 3
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_runs_as_a_module_and_spills_nothing(model: str, pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fcnrt", "segment", model, pictures, "-o", tmp_path / "out"]
    runtime = str(Path(fcnrt.__file__).parents[1])
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": runtime}, check=True)
    assert run.stderr == "" and run.stdout.startswith("3 frames in ")
