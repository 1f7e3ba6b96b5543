"""Frames resized on the CPU, against the definition."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

import fcnrt
from fcnrt.ops import reference
from fcnrt.ops.resizing import resized

SIZES = [
    ((9, 14), (5, 6)),
    ((9, 14), (13, 17)),
    ((31, 7), (4, 20)),
    ((7, 31), (20, 4)),
    ((1, 1), (3, 2)),
    ((6, 5), (1, 1)),
    ((1, 9), (1, 4)),
    ((3, 1), (5, 2)),
    ((101, 67), (100, 68)),
    ((240, 321), (67, 101)),
]


def frames_of(batch: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("source, target", SIZES)
def test_frames_are_the_references_but_for_rounding(
    source: tuple[int, int], target: tuple[int, int], antialias: bool
) -> None:
    frames = frames_of(3, *source)
    expected = reference.resize(frames, target, antialias)
    found = resized(frames, target, antialias)
    assert found.shape == (3, *target, 3) and found.dtype == np.uint8 and found.flags.c_contiguous
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("source, target", SIZES)
def test_frames_are_the_same_without_opencv_but_for_rounding(
    source: tuple[int, int], target: tuple[int, int], hide_package: Callable[[str], None]
) -> None:
    hide_package("cv2")
    test_frames_are_the_references_but_for_rounding(source, target, antialias=False)


@pytest.mark.parametrize("target", [(100, 101), (67, 33)])
def test_antialias_averages_and_its_absence_does_not(target: tuple[int, int]) -> None:
    frames = frames_of(1, 201, 203)
    assert resized(frames, target, True).std() < 0.8 * resized(frames, target, False).std()


def test_enlarging_needs_no_antialias() -> None:
    frames = frames_of(1, 9, 14)
    assert np.abs(resized(frames, (20, 31), True).astype(int) - resized(frames, (20, 31), False)).max() <= 1


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
def test_plain_frames_stay_plain(value: int, antialias: bool) -> None:
    frames = np.full((1, 13, 17, 3), value, np.uint8)
    for size in ((5, 7), (29, 40)):
        assert (resized(frames, size, antialias) == value).all()


@pytest.mark.parametrize("antialias", [True, False])
def test_frames_of_that_size_come_back_themselves(antialias: bool) -> None:
    frames = frames_of(2, 9, 14)
    assert resized(frames, (9, 14), antialias) is frames


@pytest.mark.parametrize("antialias", [True, False])
def test_frames_are_left_alone_and_independent(antialias: bool) -> None:
    frames = frames_of(2, 9, 14)
    before = frames.copy()
    both = resized(frames, (5, 21), antialias)
    np.testing.assert_array_equal(frames, before)
    for index in range(2):
        np.testing.assert_array_equal(both[index], resized(frames[index : index + 1], (5, 21), antialias)[0])
    assert both.flags.writeable


def test_averaging_needs_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(fcnrt.MissingDependency, match="Pillow is needed for this"):
        resized(frames_of(1, 9, 14), (5, 6), True)


@pytest.mark.parametrize("source, target", SIZES)
def test_without_opencv_numpy_does_the_same(
    source: tuple[int, int], target: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    frames = frames_of(3, *source)
    found = resized(frames, target, False)
    assert found.shape == (3, *target, 3) and found.dtype == np.uint8 and found.flags.writeable
    assert np.abs(found.astype(int) - reference.resize(frames, target, False)).max() <= 1
    for value in (0, 1, 128, 254, 255):
        assert (resized(np.full_like(frames, value), target, False) == value).all()
