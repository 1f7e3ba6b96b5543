"""The test source and the numbers in its pixels."""

import itertools
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from fcnrt.errors import FrameError, MediaError
from fcnrt.video.sources.generated import NUMBERS, Generated, read_stamp, stamp

SIZES = [(480, 640), (97, 131), (8, 32), (9, 33), (1080, 1920)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [0, 1, 2, 77, 0x5A5A5A, NUMBERS - 1])
def test_a_stamp_comes_back(size, number):
    pixels = np.full((*size, 3), 90, np.uint8)
    stamp(pixels, number)
    assert read_stamp(pixels) == number


def test_numbers_start_again():
    pixels = np.zeros((97, 131, 3), np.uint8)
    stamp(pixels, NUMBERS + 5)
    assert read_stamp(pixels) == 5


@pytest.mark.parametrize("size", SIZES)
def test_a_stamp_survives_blending_with_any_colours(size):
    pixels = np.full((*size, 3), 90, np.uint8)
    stamp(pixels, 0x123456)
    colours = np.zeros_like(pixels)
    colours[:, size[1] // 9 :] = 128, 64, 0
    colours[size[0] // 19 :, size[1] // 5 :] = 192, 192, 128
    assert read_stamp(pixels // 2 + colours // 2) == 0x123456


@pytest.mark.parametrize("cell", range(0, 64, 7))
def test_a_damaged_stamp_is_told(cell):
    pixels = next(iter(Generated("test:480x640"))).pixels
    row, column = divmod(cell, 16)
    square = pixels[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
    square[:] = 255 - square
    with pytest.raises(FrameError, match="found none or a damaged one"):
        read_stamp(pixels)


def test_a_swapped_bit_is_told():
    pixels = next(iter(Generated("test:480x640"))).pixels
    pixels[:16, :32] = 255 - pixels[:16, :32]
    with pytest.raises(FrameError, match="damaged"):
        read_stamp(pixels)


@pytest.mark.parametrize("size", [(7, 32), (8, 31), (1, 1)])
def test_too_small_for_a_stamp(size):
    for use in (read_stamp, lambda pixels: stamp(pixels, 1)):
        with pytest.raises(FrameError, match=f"at least 8x32 pixels, got {size[0]}x{size[1]}"):
            use(np.zeros((*size, 3), np.uint8))


@pytest.mark.parametrize(
    ("where", "size", "rate", "count", "live"),
    [
        ("test:", (480, 640), 30, None, False),
        ("test:97x131", (97, 131), 30, None, False),
        ("test:@25", (480, 640), 25, None, False),
        ("test:*7", (480, 640), 30, 7, False),
        ("test:97x131@30000/1001*5", (97, 131), Fraction(30000, 1001), 5, False),
        ("test-live:97x131@12.5*0", (97, 131), Fraction(25, 2), 0, True),
    ],
)
def test_patterns(where, size, rate, count, live):
    source = Generated(where)
    assert (source.name, source.size, source.rate, source.frame_count, source.live) == (where, size, rate, count, live)
    assert source.color == "rgb" and not source.faults


@pytest.mark.parametrize(
    "where",
    [
        "test",
        "test:48",
        "test:0x0",
        "test:7x31",
        "test:97x131@0",
        "test:97x131@1/0",
        "test:97x131@x",
        "test:*",
        "test:*-1",
    ],
)
def test_other_patterns(where):
    with pytest.raises(MediaError, match="expected") as caught:
        Generated(where)
    assert str(caught.value).startswith(f"{where}: ")


def test_frames_are_the_same_each_time_and_move():
    first, again = (list(Generated("test:97x131@25*9")) for _ in range(2))
    assert [frame.number for frame in first] == [read_stamp(frame.pixels) for frame in first] == list(range(9))
    assert [frame.time for frame in first] == [Fraction(number, 25) for number in range(9)]
    for frame, same, following in zip(first, again, [*first[1:], first[0]], strict=True):
        np.testing.assert_array_equal(frame.pixels, same.pixels)
        assert (frame.pixels[20:] != following.pixels[20:]).any()


def test_no_two_frames_share_memory():
    one, other = itertools.islice(Generated("test:97x131"), 2)
    one.pixels[:] = 0
    assert other.pixels.any() and next(iter(Generated("test:97x131"))).pixels.any()


def test_a_live_one_waits_until_frames_are_due_and_catches_up():
    now = [100.0]
    source = Generated("test-live:97x131@10*5", clock=lambda: now[0])
    waits = []
    source._closing.wait = lambda seconds: waits.append(round(seconds, 3)) or now.__setitem__(0, now[0] + seconds)
    frames = iter(source)
    next(frames), next(frames)
    now[0] += 0.25  # the reader is late: two frames and a half
    assert [frame.number for frame in frames] == [2, 3, 4]
    assert waits == [0, 0.1, 0, 0, 0.05]


def test_closing_cuts_the_wait_short():
    source = Generated("test-live:97x131@1/1000")
    frames = iter(source)
    next(frames)
    threading.Timer(0.05, source.close).start()
    began = time.monotonic()
    assert next(frames, None) is None
    assert time.monotonic() - began < 100
