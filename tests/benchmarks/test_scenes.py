"""Generated streets: shapes, exact labels, variety, and motion that hangs together."""

import itertools

import numpy as np
import pytest

pytest.importorskip("cv2")

import scenes

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
    """Without what comes after the drawing, every shape's pixels are painted and labelled by one call."""
    monkeypatch.setattr(scenes, "_expose", lambda rng, canvas: canvas.frame_hwc.copy())
    plain = scenes.Canvas.fill
    by_class = {label: scenes.PALETTE[label].astype(float) for label in range(len(scenes.CLASSES))}

    def flat(self, polygons, colour, label):
        plain(self, polygons, by_class[label], label)

    monkeypatch.setattr(scenes.Canvas, "fill", flat)
    hull = scenes.Canvas.fill_hull
    monkeypatch.setattr(scenes.Canvas, "fill_hull", lambda self, p, c, label: hull(self, p, by_class[label], label))
    monkeypatch.setattr(scenes.Canvas, "darken", lambda *_: None)
    monkeypatch.setattr(scenes, "_light", _clear_air)
    frame, labels = scenes.scene(np.random.default_rng(8), *SIZE)
    drawn = labels != scenes.SKY
    difference = np.abs(frame.astype(int) - scenes.PALETTE[labels]).max(axis=-1)
    assert difference[drawn].max() <= 1


def _clear_air(rng):
    haze = np.zeros(3)
    return scenes.Light(sun_side=1, sun=0.0, tint=np.ones(3), zenith=haze, haze=haze, haze_m=1e9, clouds=0.0, dusk=True)


def test_shadows_change_no_label():
    canvas = scenes.Canvas(
        scenes.Camera(focal_px=100, centre_px=50, horizon_px=30, x=0, y=1.5, blur_px=0.5, noise=0.0),
        _clear_air(None),
        np.full((70, 101, 3), 200, np.uint8),
    )
    canvas.fill(np.array([[(-50.0, 0, 1), (50, 0, 1), (50, 0, 400), (-50, 0, 400)]]), np.full(3, 90.0), scenes.POLE)
    canvas.paint()
    before = canvas.labels_hw.copy()
    canvas.darken([np.array([[(-1.0, 0, 4), (1, 0, 4), (1, 0, 20), (-1, 0, 20)]])], 0.5)
    np.testing.assert_array_equal(canvas.labels_hw, before)
    assert canvas.frame_hwc[before == scenes.POLE].min() < 60


def test_a_point_is_projected_as_by_a_pinhole():
    camera = scenes.Camera(focal_px=100, centre_px=50, horizon_px=30, x=1, y=1.5, blur_px=0.5, noise=0.0, z=10)
    np.testing.assert_allclose(camera.project(np.array([(3.0, 0.5, 20)])), [(50 + 100 * 2 / 10, 30 + 100 * 1 / 10)])


def test_a_drive_moves_smoothly_and_does_move():
    frames, labels = zip(*scenes.drive(np.random.default_rng(2), 12, *SIZE), strict=True)
    assert len(frames) == 12 and frames[0].shape == (*SIZE, 3) and labels[0].shape == SIZE
    steps = [(one != two).mean() for one, two in itertools.pairwise(labels)]
    assert 0 < max(steps) < 0.12
    assert (labels[0] != labels[-1]).mean() > 2 * np.mean(steps)


def test_traffic_moves_against_the_ground():
    """Seen from where the camera was, cars and walkers of a later moment stand elsewhere."""
    street = scenes._street(np.random.default_rng(2), length_m=120.0)
    for kind in (scenes.Car, scenes.Person):
        shifts = [abs(thing.at(1.0).z - thing.z) for thing in street.things if isinstance(thing, kind)]
        assert max(shifts) > 1
