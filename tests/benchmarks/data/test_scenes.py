"""Generated streets: shapes, exact labels, variety, and motion that hangs together."""

import itertools

import numpy as np
import pytest

pytest.importorskip("cv2")

from fcn_bench.data import scenes

SIZE = (97, 143)


@pytest.fixture(scope="module")
def twenty():
    pairs = [scenes.scene(np.random.default_rng(seed), *SIZE) for seed in range(20)]
    return [np.stack(arrays) for arrays in zip(*pairs, strict=True)]


def test_names_and_colours_belong_together():
    assert scenes.PALETTE.shape == (len(scenes.CLASSES), 3) and scenes.PALETTE.dtype == np.uint8
    assert len(np.unique(scenes.PALETTE, axis=0)) == len(scenes.CLASSES)


@pytest.mark.parametrize("size", [(240, 320), (97, 143), (61, 31), (9, 7), (1, 1)])
def test_shape_and_type(size):
    frame, labels = scenes.scene(np.random.default_rng(1), *size)
    assert frame.shape == (*size, 3) and frame.dtype == np.uint8 and frame.flags.c_contiguous
    assert labels.shape == size and labels.dtype == np.uint8 and labels.flags.c_contiguous


def test_labels_are_class_indices_and_every_class_occurs(twenty):
    _, labels = twenty
    assert set(np.unique(labels)) == set(range(len(scenes.CLASSES)))


def test_same_state_same_scene_other_state_other_scene():
    first, again, other = (scenes.scene(np.random.default_rng(seed), *SIZE) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).mean() > 0.05


def test_a_street_is_where_a_street_should_be(twenty):
    _, labels = twenty
    assert (labels[:, -1] == scenes.ROAD).mean() > 0.4
    assert (labels[:, : SIZE[0] // 3] == scenes.ROAD).sum() == 0
    assert (labels[:, SIZE[0] * 2 // 3 :] == scenes.SKY).sum() == 0
    assert (labels == scenes.SKY).mean() > 0.05


def test_light_varies_between_scenes_and_texture_within(twenty):
    frames, labels = twenty
    brightness = frames.mean(axis=(1, 2, 3))
    assert brightness.max() - brightness.min() > 40
    road = frames[0][labels[0] == scenes.ROAD]
    assert road.std(axis=0).min() > 2


def test_outlines_in_the_labels_are_outlines_in_the_picture(monkeypatch):
    """Painted in the colour of its class, without haze or exposure, the picture is the labels."""
    paint = scenes._paint

    def flat(canvas, camera, light, things):
        def recoloured(thing):
            return [shape._replace(colour=scenes.PALETTE[shape.label]) for shape in thing.shapes]

        paint(canvas, camera, light, [thing._replace(shapes=recoloured(thing)) for thing in things])

    monkeypatch.setattr(scenes, "_paint", flat)
    monkeypatch.setattr(scenes, "_HAZE_M", 1e9)
    monkeypatch.setattr(scenes, "_expose", lambda rng, canvas, *_: canvas[..., :3].copy())
    frame, labels = scenes.scene(np.random.default_rng(8), *SIZE)
    drawn = labels != scenes.SKY
    difference = np.abs(frame.astype(int) - scenes.PALETTE[labels]).max(axis=-1)
    assert difference[drawn].max() <= 1


def test_a_point_is_projected_as_by_a_pinhole():
    camera = scenes.Camera(height=60, width=100, focal_px=100, centre_px=50, horizon_px=30, x=1, y=1.5)
    pixels = scenes._project(camera, np.array([(3.0, 0.5, 10)])) / 2**scenes._FINE_BITS
    np.testing.assert_array_equal(pixels, [(50 + 100 * 2 / 10, 30 + 100 * 1 / 10)])


def test_a_drive_moves_smoothly_and_does_move():
    frames, labels = zip(*scenes.drive(np.random.default_rng(2), 12, *SIZE), strict=True)
    assert len(frames) == 12 and frames[0].shape == (*SIZE, 3) and labels[0].shape == SIZE
    steps = [(one != two).mean() for one, two in itertools.pairwise(labels)]
    assert 0 < max(steps) < 0.12
    assert (labels[0] != labels[-1]).mean() > 2 * np.mean(steps)


def test_traffic_moves_against_the_ground():
    things = scenes._street(np.random.default_rng(2), scenes._light(np.random.default_rng(2)), 120.0, 7.0)
    for label in (scenes.CAR, scenes.PERSON):
        speeds = [abs(thing.speed_z) for thing in things if thing.shapes[-1].label == label]
        assert 1 < max(speeds) < 10 and min(speeds) == 0
