"""Frames that a GPU decodes, as far as it can be proved without one.

PyAV and FFmpeg are doubles here wherever the GPU would be: what is checked is what we ask of them and what we make of
the planes that they promise. That NVDEC gives such planes is for a GPU host to show.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fcnrt.errors import MediaError, MissingDependency
from fcnrt.gpu.arrays import Nv12Frame, device_frames
from fcnrt.gpu.cuda import LEGACY_STREAM
from fcnrt.video import av_container
from fcnrt.video.sources import av_reader
from fcnrt.video.sources.av_frames import DevicePixels
from fcnrt.video.sources.av_reader import AvReader

av = pytest.importorskip("av")
from clips import clip  # noqa: E402

needs_18 = pytest.mark.skipif(not hasattr(av.VideoFrame, "sw_format"), reason="needs PyAV 18")

UNSPECIFIED, BT709, BT601 = 2, 1, 6  # AVCOL_SPC
STREAM = 7  # any handle


def _frame(height=98, width=134, **changes):
    planes = [SimpleNamespace(buffer_ptr=0x1000, line_size=512), SimpleNamespace(buffer_ptr=0x9000, line_size=512)]
    facts = {
        "format": SimpleNamespace(name="cuda"),
        "sw_format": SimpleNamespace(name="nv12"),
        "planes": planes,
        "height": height,
        "width": width,
        "colorspace": UNSPECIFIED,
        "color_range": 0,
        "rotation": 0,
        "side_data": {},
        "is_corrupt": False,
        "time_base": None,
        "color_trc": UNSPECIFIED,
        "interlaced_frame": False,
    }
    return SimpleNamespace(**{**facts, **changes})


@pytest.mark.parametrize(("height", "width", "row_bytes"), [(98, 134, 512), (97, 131, 512), (1080, 1920, 2048)])
def test_planes_are_passed_on_where_they_lie(height, width, row_bytes):
    frame = _frame(height, width)
    for plane in frame.planes:
        plane.line_size = row_bytes
    pixels = DevicePixels("a.mp4")(frame)
    assert isinstance(pixels, Nv12Frame) and pixels.luma.shape == (height, width)
    checked = device_frames(pixels, STREAM)
    luma, chroma = checked.planes
    assert checked.shape == (1, height, width)
    assert (luma.address, luma.shape, luma.strides) == (0x1000, (height, width), (row_bytes, 1))
    half = (height + 1) // 2, (width + 1) // 2
    assert (chroma.address, chroma.shape, chroma.strides) == (0x9000, (*half, 2), (row_bytes, 2, 1))
    # FFmpeg copies on the default stream, for which a stream that does not wait by itself has to be made to wait.
    assert luma.producer == chroma.producer == LEGACY_STREAM
    assert luma.owner._plane is frame.planes[0]


@pytest.mark.parametrize(
    ("facts", "matrix", "full_range"),
    [
        ({}, "bt601", False),
        ({"height": 720, "width": 1280}, "bt709", False),
        ({"colorspace": BT709}, "bt709", False),
        ({"height": 720, "width": 1280, "colorspace": BT601}, "bt601", False),
        ({"color_range": 2}, "bt601", True),
    ],
)
def test_colours_are_those_of_the_stream(facts, matrix, full_range):
    pixels = DevicePixels("a.mp4")(_frame(**facts))
    assert (pixels.matrix, pixels.full_range) == (matrix, full_range)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"sw_format": SimpleNamespace(name="p010le")}, "got p010le; decode on the CPU"),
        ({"format": SimpleNamespace(name="yuv420p"), "sw_format": None}, "got yuv420p in the host's memory"),
        ({"rotation": 90}, "got a rotated picture; decode on the CPU"),
    ],
)
def test_other_frames_are_refused(facts, expected):
    with pytest.raises(MediaError, match=f"a.mp4: expected upright NV12 from the GPU's decoder, {expected}"):
        DevicePixels("a.mp4")(_frame(**facts))


@needs_18
@pytest.mark.parametrize(("hwaccel", "device_id"), [("cuda", 0), ("cuda:3", 3)])
def test_what_is_asked_of_ffmpeg(tmp_path, monkeypatch, hwaccel, device_id):
    asked, path = [], clip(tmp_path / "a.mp4", frames=1)

    def opened(where, **options):
        asked.append(options["hwaccel"])
        raise av.error.ExternalError(542398533, "Generic error in an external library")

    monkeypatch.setattr(av_container.pyav(), "open", opened)
    text = r"the GPU cannot decode it \(Generic error in an external library\); decode on the CPU"
    with pytest.raises(MediaError, match=text):
        AvReader(path, hwaccel=hwaccel)
    assert asked[0].device_id == device_id and asked[0].is_hw_owned and not asked[0].allow_software_fallback


@pytest.mark.parametrize("hwaccel", ["vaapi", "cuda:x", "cuda:-1", "cuda:0:1", ""])
def test_other_hardware(tmp_path, hwaccel):
    path = clip(tmp_path / "a.mp4", frames=1)
    with pytest.raises(MediaError, match="expected hwaccel 'cuda' or 'cuda:N', got '"):
        AvReader(path, hwaccel=hwaccel)


def test_pyav_must_be_new_enough(tmp_path, monkeypatch):
    path = clip(tmp_path / "a.mp4", frames=1)
    monkeypatch.setattr(av_container, "pyav", lambda: SimpleNamespace(VideoFrame=object))
    with pytest.raises(MissingDependency, match=r"decoding on the GPU needs PyAV 18: .*pip install 'av>=18'"):
        AvReader(path, hwaccel="cuda")


@needs_18
def test_a_damaged_file_is_not_blamed_on_the_gpu(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("no video")
    with pytest.raises(MediaError, match="cannot open: expected a whole video"):
        AvReader(path, hwaccel="cuda")


@pytest.mark.parametrize(
    ("facts", "notes"),
    [
        ({}, []),
        ({"color_trc": 18, "interlaced_frame": True}, ["HDR (HLG), left as it is", "interlaced, left as it is"]),
    ],
)
def test_a_reader_passes_frames_of_the_gpu_on(tmp_path, monkeypatch, facts, notes):
    path, opened = clip(tmp_path / "a.mp4", frames=3), av_reader.open_container
    monkeypatch.setattr(av_reader, "open_container", lambda *arguments: opened(*arguments[:3], None))
    decoded = AvReader._frames_of

    def on_the_gpu(self, packet):
        return [_frame(pts=frame.pts, **facts) for frame in decoded(self, packet)]

    monkeypatch.setattr(AvReader, "_frames_of", on_the_gpu)
    with AvReader(path, hwaccel="cuda") as source:
        frames = list(source)
    assert source.color == "nv12" and source.size == (98, 134)
    assert [frame.number for frame in frames] == [0, 1, 2] and frames[2].time * 25 == 2
    assert all(isinstance(frame.pixels, Nv12Frame) for frame in frames)
    assert [note.removeprefix(f"{path}: ").partition(" on the GPU")[0] for note in source.notes] == notes
