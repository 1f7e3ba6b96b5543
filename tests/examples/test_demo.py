"""The demo, at a small size: every step leaves the files that it announces."""

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("PIL")

from PIL import Image

import demo
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
    frames, _ = next(demo.scene_batches(1, size=SIZE))
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


def test_a_checkpoint_that_the_exporter_refuses_ends_the_demo(tmp_path, capsys):
    (tmp_path / "slim.pth").write_bytes(b"no checkpoint")
    assert demo.export(tmp_path / "slim.pth") is None
    assert "slim.pth" in capsys.readouterr().err
