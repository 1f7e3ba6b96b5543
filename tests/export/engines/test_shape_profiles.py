"""Shape profiles: what the command line may say, what is filled in, and what is refused."""

from __future__ import annotations

import pytest

from fcn_export.engines.shape_profiles import chosen_profiles, parse_profile, parse_shape
from fcn_export.errors import ExportError
from fcnrt.contract.onnx_file import Fixed
from fcnrt.contract.profiles import Profile, shape_text
from fcnrt.contract.types import Shape

FREE: Fixed = (None, None, None)
USUAL = Profile((1, 64, 64), (1, 720, 1280), (1, 1088, 1920))


def one(
    low: Shape | None = None,
    best: Shape | None = None,
    high: Shape | None = None,
    fixed: Fixed = FREE,
    min_size: int = 1,
) -> Profile:
    (profile,) = chosen_profiles((), (low, best, high), fixed, min_size)
    return profile


@pytest.mark.parametrize(
    "text", ["2x71x46", "2x71x46x3", "frames:2x71x46x3", "frames:2x71x46", "'frames':2x71x46x3", '"frames":2x71x46x3']
)
def test_shapes_are_read_as_we_and_as_trtexec_write_them(text: str) -> None:
    assert parse_shape(text) == (2, 71, 46) and shape_text((2, 71, 46)) == "2x71x46"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected BATCHxHEIGHTxWIDTH"),
        ("71x46", "expected BATCHxHEIGHTxWIDTH"),
        ("1x71x-46", "expected BATCHxHEIGHTxWIDTH"),
        ("1x71x46.5", "expected BATCHxHEIGHTxWIDTH"),
        ("1x3x71x46", "expected 3 channels at the end"),
        ("1x71x46x3x1", "expected BATCHxHEIGHTxWIDTH"),
        ("1x71x99999999999", "expected BATCHxHEIGHTxWIDTH"),
        ("1x७1x46", "expected BATCHxHEIGHTxWIDTH"),
        ("images:1x71x46x3", "one of 'images'"),
        ("frames:1x71x46x3,more:1", "expected a shape of the input frames"),
    ],
)
def test_what_is_no_shape(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_shape(text)


@pytest.mark.parametrize("text", ["1x2x3", "1x2x3:1x2x3", "1x2x3:1x2x3:1x2x3:1x2x3", "1x2:1x2:1x2"])
def test_what_is_no_profile(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected (MIN:OPT:MAX|BATCH)"):
        parse_profile(text)


def test_a_profile_is_written_as_it_is_read() -> None:
    profile = parse_profile("1x64x96:2x71x101:3x720x1280")
    assert profile == Profile((1, 64, 96), (2, 71, 101), (3, 720, 1280))
    assert str(profile) == "1x64x96:2x71x101:3x720x1280"
    assert profile.as_json() == {"min": [1, 64, 96], "opt": [2, 71, 101], "max": [3, 720, 1280]}


def test_nothing_given_is_a_camera_of_any_usual_format() -> None:
    assert one() == USUAL


def test_missing_bounds_move_as_far_as_the_given_ones_demand() -> None:
    assert one(high=(4, 500, 3000)) == Profile((1, 64, 64), (1, 500, 1280), (4, 500, 3000))
    assert one(low=(2, 800, 32)) == Profile((2, 800, 32), (2, 800, 1280), (2, 1088, 1920))
    assert one(best=(8, 2160, 33)) == Profile((1, 64, 33), (8, 2160, 33), (8, 2160, 1920))
    assert one((1, 9, 9), (1, 10, 11), (2, 12, 13)) == Profile((1, 9, 9), (1, 10, 11), (2, 12, 13))


def test_fixed_dimensions_and_the_networks_minimum_are_respected() -> None:
    assert one(fixed=(2, 71, None)) == Profile((2, 71, 64), (2, 71, 1280), (2, 71, 1920))
    assert one(min_size=96).min == (1, 96, 96)
    assert one(min_size=2000) == Profile((1, 2000, 2000), (1, 2000, 2000), (1, 2000, 2000))


def test_several_profiles_stay_in_order() -> None:
    profiles = (parse_profile("1x99x99:1x99x99:1x99x99"), parse_profile("1x64x64:1x64x64:1x64x64"))
    assert chosen_profiles(profiles, (None, None, None), FREE, 1) == profiles


@pytest.mark.parametrize(
    ("profile", "fixed", "expected"),
    [
        ("2x64x64:1x64x64:2x64x64", FREE, "expected batch min <= opt <= max, got 2, 1, 2; put them in order"),
        ("1x64x64:1x99x64:1x98x64", FREE, "expected height min <= opt <= max, got 64, 99, 98"),
        ("0x64x64:1x64x64:1x64x64", FREE, "expected batch of at least 1, got 0"),
        ("1x31x64:1x64x64:1x64x64", FREE, "expected height of at least 32, got 31"),
        ("1x64x64:1x64x64:1x64x65536", FREE, "expected width of at most 65535, got 65536"),
        ("1x64x64:1x64x64:2x64x64", (1, None, None), "expected batch 1, which the file fixes, got 1 to 2"),
        ("1x64x64:1x64x64:1x64x64", (None, None, 96), "expected width 96, which the file fixes, got 64 to 64"),
    ],
)
def test_refusals(profile: str, fixed: Fixed, expected: str) -> None:
    with pytest.raises(ExportError) as refusal:
        chosen_profiles((parse_profile(profile),), (None, None, None), fixed, 32)
    assert str(refusal.value).startswith(f"profile {profile}: {expected}")


def test_zero_is_refused_and_not_taken_for_nothing() -> None:
    with pytest.raises(ExportError, match="expected batch of at least 1, got 0"):
        one(low=(0, 64, 64))
    with pytest.raises(ExportError, match="expected height of at least 1, got 0"):
        one(high=(1, 0, 64))


def test_two_ways_to_say_it_are_one_too_many() -> None:
    with pytest.raises(ExportError, match="--profile: expected it without"):
        chosen_profiles((USUAL,), (None, (1, 64, 64), None), FREE, 1)
