"""What the picture is: HDR, interlaced, with pixels that are not square."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")
from fcnrt.errors import MediaError  # noqa: E402
from fcnrt.video.sources import open_source  # noqa: E402
from fcnrt.video.sources.deinterlacing import Deinterlacer  # noqa: E402
from fcnrt.video.sources.generated import Generated  # noqa: E402
from fcnrt.video.sources.tone_mapping import sdr  # noqa: E402
from helpers.clips import clip, numbers  # noqa: E402

SIZE = (128, 192)
BT2020_NCL, BT2020, PQ, HLG, LIMITED = 9, 9, 16, 18, 1
HDR = {"colorspace": BT2020_NCL, "color_primaries": BT2020, "color_range": LIMITED}
TO_BT2020 = np.linalg.inv([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
X265 = {"crf": "4", "x265-params": "log-level=none:pools=1:frame-threads=1"}


def pq(nits):
    """The inverse of ST 2084's EOTF."""
    power = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(nits):
    """What BT.2100 encodes so that a display of 1000 cd/m2 shows these."""
    luminance = np.maximum(nits @ (0.2627, 0.6780, 0.0593) / 1000, 1e-9)[..., None]
    scene = nits / 1000 * luminance ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


ENCODED = {PQ: pq, HLG: hlg}


def hdr_planes(frame_hwc, transfer):
    """An SDR picture as 10-bit YCbCr of BT.2020, whose white is 203 cd/m2; (H * 3 / 2, W) as FFmpeg lays out 4:2:0."""
    light = np.where(frame_hwc <= 10, frame_hwc / 255 / 12.92, ((frame_hwc / 255 + 0.055) / 1.055) ** 2.4)
    nits = 203 * light @ TO_BT2020.T
    red, green, blue = np.moveaxis(ENCODED[transfer](np.maximum(nits, 0)), -1, 0)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    planes = [64 + 876 * luma]
    for chroma in ((blue - luma) / 1.8814, (red - luma) / 1.4746):
        halved = chroma.reshape(chroma.shape[0] // 2, 2, chroma.shape[1] // 2, 2).mean(axis=(1, 3))
        planes.append((512 + 896 * halved).reshape(-1, chroma.shape[1]))
    return np.rint(np.concatenate(planes)).astype(np.uint16)


def smooth(number):
    """Colours that run into each other."""
    down, right = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] / 40
    wave = np.stack((np.sin(down + number), np.cos(right), np.sin(right - down)), axis=-1)
    return (110 + 80 * wave).astype(np.uint8)


@pytest.mark.skipif(not hasattr(av.VideoFrame, "sw_format"), reason="frames of 10 bits from arrays need PyAV 18")
@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_becomes_the_sdr_that_it_was_made_of(tmp_path, transfer):
    pictures = [smooth(number) for number in range(3)]
    path = clip(
        tmp_path / "a.mp4",
        codec="hevc",
        frames=3,
        size=SIZE,
        pixel_format="yuv420p10le",
        options=X265,
        colour={**HDR, "color_trc": transfer},
        pictures=[hdr_planes(picture, transfer) for picture in pictures],
    )
    with open_source(path) as source:
        frames = list(source)
    kind = {PQ: "PQ", HLG: "HLG"}[transfer]
    assert source.notes == [f"{path}: HDR ({kind}), made SDR"]
    for frame, picture in zip(frames, pictures, strict=True):
        difference = np.abs(frame.pixels.astype(int) - picture)
        assert difference.mean() < 3 and np.quantile(difference, 0.99) < 16
    assert frames[0].pixels.shape == (*SIZE, 3) and frames[0].pixels.dtype == np.uint8


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_highlights_approach_white_in_order_and_keep_their_hue(transfer):
    inverse = {"PQ": pq, "HLG": hlg}[transfer]
    nits = np.linspace(0.01, 1000, 200)
    grey = sdr(inverse(np.repeat(nits[:, None], 3, axis=1)), transfer)
    assert (np.diff(grey[:, 0]) >= 0).all() and np.ptp(grey, axis=1).max() < 0.01
    assert grey[0].max() < 0.02 and grey[-1].min() > 0.99
    reference = sdr(inverse(np.full((1, 3), 203.0)), transfer)
    assert 0.9 < reference.min() <= reference.max() < 1
    warm = sdr(inverse(np.array([[900.0, 450.0, 450.0]])), transfer)[0]
    assert warm[0] > warm[1] + 0.1 and abs(warm[1] - warm[2]) < 0.05


def test_sdr_is_left_alone(tmp_path):
    with open_source(clip(tmp_path / "a.mp4", frames=2)) as source:
        assert source.notes == [] and source.pixel_aspect == 1


def interlaced(path, frames=12, flagged=True, **more):
    """A film in grey whose even rows show a moment later than its odd ones; what is to be seen of it."""
    moments = [
        frame.pixels[..., 1:2].repeat(3, axis=2) for frame in Generated(f"test:{SIZE[0]}x{SIZE[1]}*{2 * frames}")
    ]
    woven = []
    for early, late in zip(moments[::2], moments[1::2], strict=True):
        picture = early.copy()
        picture[::2] = late[::2]
        picture[:32, :80] = early[:32, :80]  # the number
        woven.append(picture)
    flags = {"flags": "+ildct+ilme"} if flagged else {}
    clip(path, codec="mpeg2video", size=SIZE, pictures=woven, frames=frames, options={"qscale": "1", **flags}, **more)
    return moments[::2]


def comb(pixels):
    """How much rows differ from the mean of their neighbours."""
    rows = pixels.astype(int).sum(axis=-1)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


@pytest.mark.parametrize(
    ("flagged", "mode", "changed"),
    [(True, "auto", True), (True, "off", False), (False, "auto", False), (False, "on", True), (True, "on", True)],
)
def test_interlaced_video_is_deinterlaced(tmp_path, flagged, mode, changed):
    path = tmp_path / "a.mpg"
    moments = interlaced(path, flagged=flagged)
    with open_source(path, deinterlace=mode) as source:
        frames = list(source)
    assert numbers(frames) == list(range(0, 24, 2)) and [frame.number for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == [Fraction(index, 25) for index in range(12)]
    assert bool(source.notes) == changed
    combs = np.mean([comb(frame.pixels[32:]) for frame in frames]) / np.mean([comb(each[32:]) for each in moments])
    assert combs < 1.3 if changed else combs > 1.6


@pytest.mark.parametrize("step", [4, 7])
def test_what_moves_is_shown_where_it_was_at_one_moment(tmp_path, step):
    smooth = np.kron(np.random.default_rng(0).integers(40, 216, (16, 24)), np.ones((8, 8))).astype(np.uint8)
    moments = [np.roll(smooth, step * moment, axis=1)[..., None].repeat(3, axis=2) for moment in range(12)]
    woven = [np.where(np.arange(128)[:, None, None] % 2, early, late)
             for early, late in zip(moments[::2], moments[1::2], strict=True)]  # fmt: skip
    options = {"qscale": "1", "flags": "+ildct+ilme"}
    path = clip(tmp_path / "a.mpg", codec="mpeg2video", size=SIZE, pictures=woven, frames=6, options=options)

    def error(mode):
        with open_source(path, deinterlace=mode) as source:
            pairs = list(zip(source, moments[::2], strict=True))
        return np.mean([np.abs(frame.pixels.astype(int) - moment).mean() for frame, moment in pairs])

    assert error("auto") < error("off") / 2


def test_the_last_frames_come_where_a_file_is_cut_off(tmp_path):
    path = tmp_path / "a.avi"
    interlaced(path, frames=40, gop=4)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    frames, error = [], None
    try:
        with open_source(path) as source:
            for frame in source:
                frames.append(frame)
    except MediaError as caught:
        error = caught
    assert error and "ends early" in str(error)
    assert [frame.number for frame in frames] == list(range(len(frames))) and len(frames) >= 15
    assert numbers(frames[-1:]) == [2 * (len(frames) - 1)]


def test_a_change_of_size_loses_no_frame():
    deinterlacer = Deinterlacer("on")
    out = []
    for index in range(6):
        height = 48 if index < 3 else 64
        frame = av.VideoFrame.from_ndarray(np.full((height, 64, 3), index, np.uint8)).reformat(format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        out += deinterlacer(frame)
    out += deinterlacer.flush()
    assert [frame.height for frame in out] == [48] * 3 + [64] * 3
    assert [frame.pts * frame.time_base for frame in out] == [Fraction(index, 25) for index in range(6)]


@pytest.mark.parametrize(
    ("rotation", "expected"), [(0, Fraction(16, 11)), (90, Fraction(11, 16)), (180, Fraction(16, 11))]
)
def test_pixels_that_are_not_square(tmp_path, rotation, expected):
    path = clip(tmp_path / "a.mp4", frames=2, rotation=rotation, colour={"sample_aspect_ratio": Fraction(16, 11)})
    with open_source(path) as source:
        assert source.pixel_aspect == expected
