"""The demo, at a small size: every step leaves the files that it announces."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("PIL")

from PIL import Image

import demo
import demo_training
import fcnrt
from fcn_bench.data import scenes
from fcnrt.video import open_source

SIZE = (61, 83)
MODEL_FILES = {"slim.pth", "slim.onnx", "classes.txt", "palette.txt"}
PICTURES = {f"street{kind}" for kind in (".png", "_labels.png", "_overlay.png", "_comparison.png", "_overlay.mp4")}
OPTIONS = ["--steps", "2", "--scenes", "3", "--seconds", "0.4", "--seed", "1", "--height", "61", "--width", "83"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("run") / "demo"
    assert demo.main(["-o", str(made), *OPTIONS]) == 0
    return made


@pytest.fixture(scope="module")
def segment(folder):
    with fcnrt.Segmenter(folder / "slim.onnx") as opened:
        yield opened


def test_it_leaves_the_files_and_nothing_else(folder):
    assert {path.name for path in folder.iterdir()} == MODEL_FILES | PICTURES


def test_the_model_knows_names_and_colours(segment):
    assert segment.classes == scenes.CLASSES
    np.testing.assert_array_equal(segment.palette, scenes.PALETTE)


def test_labels_and_overlay_belong_to_the_frame(folder, segment):
    frame = np.array(Image.open(folder / "street.png"))
    labels = np.array(Image.open(folder / "street_labels.png"))
    assert frame.shape == (*SIZE, 3)
    np.testing.assert_array_equal(labels, segment(frame))
    painted = np.array(Image.open(folder / "street_overlay.png"))
    np.testing.assert_array_equal(painted, fcnrt.overlay(frame, labels, segment.palette))


def test_the_street_was_not_trained_on(folder):
    frame = np.array(Image.open(folder / "street.png"))
    frames, _ = next(demo_training.scene_batches(1, size=SIZE))
    assert not any(np.array_equal(frame, trained) for trained in frames)


def test_comparison_shows_frame_truth_and_prediction_above_the_legend(segment):
    frame, truth = scenes.scene(np.random.default_rng(5), *SIZE)
    wrong = np.full_like(truth, scenes.SIGN)
    picture = demo.compare(frame, truth, wrong, segment)
    height, width = SIZE
    assert picture.shape[0] > height
    np.testing.assert_array_equal(picture[:height, :width], frame)
    np.testing.assert_array_equal(picture[:height, width : 2 * width], scenes.PALETTE[truth])
    assert (picture[:height, 2 * width : 3 * width] == scenes.PALETTE[scenes.SIGN]).all()
    assert len(np.unique(picture[height:].reshape(-1, 3), axis=0)) >= len(scenes.CLASSES)


def test_figures_are_counted_over_unseen_scenes(segment, capsys):
    matrix = demo.measure(segment, 4, seed=1, size=SIZE)
    assert matrix.counts.sum() == 4 * SIZE[0] * SIZE[1]
    assert f"mIoU {matrix.mean_iou():.3f}, pixel accuracy {matrix.pixel_accuracy():.3f}" in capsys.readouterr().out


def test_film_has_the_length_asked_for(folder):
    with open_source(folder / "street_overlay.mp4") as video:
        assert sum(1 for _ in video) == round(0.4 * scenes.FRAME_RATE)
        assert video.rate == pytest.approx(scenes.FRAME_RATE)


def test_without_steps_as_many_are_taken_as_the_machine_makes_in_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo_training, "TRAINING_S", 1e-9)
    monkeypatch.setattr(demo_training, "FEWEST_STEPS", 3)
    demo.train_slim(tmp_path / "slim.pth", None, 1, SIZE)
    printed = capsys.readouterr().out
    assert " ms a step here, so about " in printed and ", 3 steps\n" in printed and "after 3 steps" in printed
    assert (tmp_path / "slim.pth").is_file()


def test_a_checkpoint_that_the_exporter_refuses_ends_the_demo(tmp_path, capsys, monkeypatch):
    def damaged(path, *_):
        path.write_bytes(b"no checkpoint")
        return path

    monkeypatch.setattr(demo, "train_slim", damaged)
    assert demo.main(["-o", str(tmp_path)]) == 1
    assert "slim.pth" in capsys.readouterr().err
    assert not (tmp_path / "slim.onnx").exists()


def test_an_interrupt_ends_in_one_line(tmp_path):
    command = [sys.executable, Path(demo.__file__), "-o", tmp_path, *OPTIONS, "--steps", "10000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "steps" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == f"demo: interrupted; the files written so far in {tmp_path} are whole"
