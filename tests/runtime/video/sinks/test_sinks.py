"""Overlay and label videos, label pictures, and the bare stream of labels."""

import io
import os
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from fcnrt.errors import FrameError, MediaError
from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.palette import generated_palette, overlay, voc_palette
from fcnrt.video.frames import Frame, Labelled
from fcnrt.video.sinks.films import LabelVideo, OverlayVideo
from fcnrt.video.sinks.raw_labels import RawLabels
from fcnrt.video.sinks.stills import LabelPictures

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(17)
PALETTE = voc_palette(21)
SIZE = (37, 53)
SOURCE = SimpleNamespace(rate=Fraction(30), name="here")


def _labelled(count=4, size=SIZE, dtype=np.uint8, classes=21):
    """Smooth frames at uneven times, with labels of broad regions."""
    for number in range(count):
        pixels = np.full((*size, 3), 20 * number + 30, np.uint8)
        labels = (
            RNG.integers(0, classes, (1, size[1] // 12 + 1)).repeat(12, axis=1)[:, : size[1]].repeat(size[0], axis=0)
        )
        yield Labelled(Frame(pixels, Fraction(number * number, 25), number, 0.0), labels.astype(dtype))


def _run(sink, frames):
    """As the pipeline does it: the drawings of two frames wait while the first is written."""
    drawn = []
    for labelled in frames:
        drawn.append(sink.draw(labelled))
        if len(drawn) == 3:
            sink.write(drawn.pop(0))
    for each in drawn:
        sink.write(each)
    sink.close()
    sink.close()


def _read(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.pts * frame.time_base for frame in frames]


def _files(folder):
    return sorted(path.name for path in folder.iterdir())


class _OnDevice:
    """Labels as the GPU has them."""

    def __init__(self, labels):
        self._labels = labels

    def numpy(self):
        return self._labels


# ---- videos


def test_an_overlay_video_shows_each_frame_at_its_time(tmp_path):
    frames = list(_labelled(8, size=(96, 144)))
    before = [each.frame.pixels.copy() for each in frames]
    sink = OverlayVideo(tmp_path / "o.mp4", SOURCE, Drawing(PALETTE, 0.4))
    assert sink.name == str(tmp_path / "o.mp4") and not sink.in_main_thread and _files(tmp_path) == []
    _run(sink, frames)
    back, times = _read(tmp_path / "o.mp4")
    assert times == [each.frame.time for each in frames] and sink.notes == []
    for picture, labelled in zip(back, frames, strict=True):
        wanted = overlay(labelled.frame.pixels, labelled.labels, PALETTE, 0.4)
        assert np.median(np.abs(picture.astype(int) - wanted)) <= 3
    np.testing.assert_array_equal([each.frame.pixels for each in frames], before)


def test_drawings_reuse_the_memory_of_written_ones(tmp_path):
    sink = OverlayVideo(tmp_path / "o.mp4", SOURCE, Drawing(PALETTE))
    memory = set()
    for labelled in _labelled(9):
        drawn = sink.draw(labelled)
        memory.add(drawn.pixels.ctypes.data)
        sink.write(drawn)
    sink.close()
    assert len(memory) == 1


def test_an_overlay_video_passes_notes_on(tmp_path):
    sink = OverlayVideo(tmp_path / "o.mp4", SOURCE, Drawing(PALETTE), audio_from=tmp_path / "none.mp4")
    _run(sink, _labelled())
    (note,) = sink.notes
    assert note.startswith(f"{tmp_path / 'o.mp4'}: no audio: ")


def test_a_source_without_a_rate_gets_25(tmp_path):
    still = Labelled(Frame(np.zeros((*SIZE, 3), np.uint8), Fraction(0), 0, 0.0), np.zeros(SIZE, np.uint8))
    _run(OverlayVideo(tmp_path / "o.mkv", SimpleNamespace(rate=None), Drawing(PALETTE)), [still])
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert container.streams.video[0].average_rate == 25


@pytest.mark.parametrize(
    "make", [lambda path: OverlayVideo(path, SOURCE, Drawing(PALETTE)), lambda path: LabelVideo(path, SOURCE, PALETTE)]
)
def test_no_frame_no_file(tmp_path, make):
    make(tmp_path / "v.mp4").close()
    assert _files(tmp_path) == []


@pytest.mark.parametrize(("dtype", "classes"), [(np.uint8, 21), (np.uint8, 256), (np.uint16, 700)])
def test_a_label_video_is_exact(tmp_path, dtype, classes):
    palette = generated_palette(classes)
    frames = list(_labelled(5, dtype=dtype, classes=classes))
    _run(LabelVideo(tmp_path / "l.mp4", SOURCE, palette), frames)
    back, times = _read(tmp_path / "l.mp4")
    np.testing.assert_array_equal(back, [palette[each.labels] for each in frames])
    assert times == [each.frame.time for each in frames]


def test_a_label_video_takes_a_change_of_size(tmp_path):
    frames = [*_labelled(2), *_labelled(2, size=(74, 106))]
    _run(LabelVideo(tmp_path / "l.mkv", SOURCE, PALETTE), frames)
    back, _ = _read(tmp_path / "l.mkv")
    np.testing.assert_array_equal(back[3], PALETTE[frames[3].labels][1::2, 1::2])


def test_labels_without_a_colour_are_refused(tmp_path):
    (labelled,) = _labelled(1)
    with pytest.raises(FrameError, match="labels: expected below 3"):
        LabelVideo(tmp_path / "l.mp4", SOURCE, PALETTE[:3]).draw(labelled._replace(labels=labelled.labels * 0 + 3))


def test_labels_come_from_a_gpu_but_pixels_must_not(tmp_path):
    (labelled,) = _labelled(1)
    on_device = labelled._replace(labels=_OnDevice(labelled.labels))
    for sink in (
        LabelVideo(tmp_path / "l.mp4", SOURCE, PALETTE),
        OverlayVideo(tmp_path / "o.mp4", SOURCE, Drawing(PALETTE)),
    ):
        np.testing.assert_array_equal(sink.draw(on_device).pixels, sink.draw(labelled).pixels)
    nv12 = Labelled(Frame(_OnDevice(None), Fraction(0), 0, 0.0), labelled.labels)
    with pytest.raises(
        MediaError, match="frame: expected pixels in the host's memory, got _OnDevice; decode on the CPU"
    ):
        OverlayVideo(tmp_path / "o.mp4", SOURCE, Drawing(PALETTE)).draw(nv12)


# ---- pictures


def test_label_pictures_are_numbered_and_stale_ones_go(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    for name in ("000003.png", "000777.png", "1000000.png", "photo.png", "12.png", "000001.txt"):
        (folder / name).touch()
    frames = list(_labelled(3))
    sink = LabelPictures(folder, PALETTE)
    assert (folder / "000777.png").exists() and sink.name == str(folder)
    _run(sink, frames)
    kept = ["000001.txt", "12.png", "photo.png"]
    assert _files(folder) == sorted(["000000.png", "000001.png", "000002.png", *kept])
    for index, labelled in enumerate(frames):
        picture = Image.open(folder / f"{index:06d}.png")
        np.testing.assert_array_equal(np.asarray(picture), labelled.labels)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), PALETTE[labelled.labels])


def test_label_pictures_make_their_folder_with_the_first_frame(tmp_path):
    LabelPictures(tmp_path / "labels", PALETTE).close()
    assert _files(tmp_path) == []
    _run(LabelPictures(tmp_path / "labels", PALETTE), _labelled(1))
    assert _files(tmp_path / "labels") == ["000000.png"]


@pytest.mark.parametrize(
    ("place", "expected"), [("none/labels", "No such file or directory"), ("file", "File exists|Not a directory")]
)
def test_label_pictures_that_cannot_be_written(tmp_path, place, expected):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match=f"{place}: cannot write there: ({expected})"):
        _run(LabelPictures(tmp_path / place, PALETTE), _labelled(3))


# ---- the bare stream


@pytest.mark.parametrize(("dtype", "stored"), [(np.uint8, "u1"), (np.uint16, "<u2"), (">u2", "<u2")])
def test_raw_labels_are_the_bytes_and_nothing_else(dtype, stored):
    stream, frames = io.BytesIO(), list(_labelled(3, dtype=dtype))
    _run(RawLabels(stream), frames)
    read = np.frombuffer(stream.getvalue(), stored).reshape(3, *SIZE)
    np.testing.assert_array_equal(read, [each.labels for each in frames])
    assert not stream.closed


def test_raw_labels_are_flushed_frame_by_frame_and_cut_views_packed():
    raw = io.BytesIO()
    sink = RawLabels(io.BufferedWriter(raw, buffer_size=10**6))
    (labelled,) = _labelled(1)
    sink.write(sink.draw(labelled._replace(labels=labelled.labels[::2, ::-1])))
    assert raw.getvalue() == labelled.labels[::2, ::-1].tobytes()


def test_a_stream_that_takes_little_at_a_time():
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(data[:100])

    stream, frames = Slow(), list(_labelled(2))
    _run(RawLabels(stream), frames)
    assert stream.getvalue() == b"".join(each.labels.tobytes() for each in frames)


def test_raw_labels_refuse_a_change_of_size():
    stream = io.BytesIO()
    expected = "labels: expected frames of 37x53 as before, got 20x30 after 2 frames; a reader of bare labels could not"
    with pytest.raises(MediaError, match=expected):
        _run(RawLabels(stream), [*_labelled(2), *_labelled(1, size=(20, 30))])
    assert len(stream.getvalue()) == 2 * 37 * 53


def test_a_stream_that_fails():
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(MediaError, match="labels: cannot write after 0 frames: No space left on device"):
        _run(RawLabels(Full()), _labelled(1))


@pytest.mark.parametrize("flags", [[], ["-u"]])
@pytest.mark.parametrize("width", [4, 400])  # within Python's buffer, and beyond it
def test_a_reader_that_goes_away_is_one_line_and_no_noise(flags, width):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "import numpy as np\n"
        "from fractions import Fraction\n"
        "from fcnrt.errors import MediaError\n"
        "from fcnrt.video.frames import Frame, Labelled\n"
        "from fcnrt.video import RawLabels\n"
        "sink = RawLabels(sys.stdout.buffer)\n"
        "frame = Labelled(Frame(None, Fraction(0), 0, 0.0), np.ones((300, int(sys.argv[1])), np.uint8))\n"
        "try:\n"
        "    for count in range(10**6): sink.write(sink.draw(frame))\n"
        "except MediaError as error:\n"
        "    print(error, count, file=sys.stderr)\n"
        "sink.close()\n"
        "print('what Python flushes at its end')\n"
    )
    command = [sys.executable, *flags, "-c", code, str(width), *sys.path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
    with process:
        assert process.stdout.read(900 * width) == b"\x01" * 900 * width
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 0
    count = int(said.split()[-1])
    assert said == f"labels: the reader went away after {count} frames {count}\n" and 3 <= count < 10**6
