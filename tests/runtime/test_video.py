"""Pictures and videos in and out of files."""

import builtins
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from fcnrt import video
from fcnrt.errors import FrameError, MediaError, MissingDependency
from fcnrt.palette import generated_palette, voc_palette

Image = pytest.importorskip("PIL.Image")
cv2 = pytest.importorskip("cv2")

RNG = np.random.default_rng(11)
FRAME = RNG.integers(0, 256, (37, 23, 3), dtype=np.uint8)


def _ramp(height, width, frames=5):
    """Smooth frames, which a lossy codec keeps nearly as they are; each one brighter than the last."""
    slope = np.linspace(0, 90, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return [np.clip(slope + np.array((20 * index, 10, 60)), 0, 255).astype(np.uint8) for index in range(frames)]


def _write_video(path, frames, rate=12.5):
    with video.VideoWriter(path, rate, frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.write(frame)


def _files(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- find_inputs


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.JPG", "clip.mp4", "notes.txt", ".hidden.png", "x[1].png", "sub/c.tif"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["."], ["a.JPG", "b.png", "clip.mp4", "x[1].png"]),
        (["*.png"], ["b.png", "x[1].png"]),
        (["**/*"], ["a.JPG", "b.png", "clip.mp4", "sub/c.tif", "x[1].png"]),
        (["x[1].png"], ["x[1].png"]),
        ([".hidden.png"], [".hidden.png"]),
        (["clip.mp4", "*.JPG", ".", "sub"], ["clip.mp4", "a.JPG", "b.png", "x[1].png", "sub/c.tif"]),
    ],
)
def test_find_inputs(tree, monkeypatch, patterns, expected):
    monkeypatch.chdir(tree)
    assert [path.as_posix() for path in video.find_inputs(patterns)] == expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], "expected at least one file"),
        (["nothing.png"], "nothing.png: no picture or video there"),
        (["*.txt"], r"\*.txt: no picture or video there; known are .png"),
        (["notes.txt"], "notes.txt: expected a name that ends in .png"),
        (["b.png", "none/*"], "none/"),
    ],
)
def test_find_inputs_refuses(tree, monkeypatch, patterns, expected):
    monkeypatch.chdir(tree)
    with pytest.raises(MediaError, match=expected):
        video.find_inputs(patterns)


def test_is_video_goes_by_extension():
    assert video.is_video("a/b.MP4") and video.is_video("c.mkv")
    assert not video.is_video("mp4") and not video.is_video("b.mp4.png")


# ---- read_image


def _saved(path, picture, **options):
    picture.save(path, **options)
    return path


def test_read_image_gives_the_pixels_back(tmp_path):
    frame = video.read_image(_saved(tmp_path / "a.png", Image.fromarray(FRAME)))
    np.testing.assert_array_equal(frame, FRAME)
    assert frame.flags.c_contiguous and frame.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_turns_upright(tmp_path, orientation):
    stored = {
        1: FRAME,
        2: FRAME[:, ::-1],
        3: FRAME[::-1, ::-1],
        4: FRAME[::-1],
        5: FRAME.transpose(1, 0, 2),
        6: np.rot90(FRAME),
        7: FRAME[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(FRAME, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _saved(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(video.read_image(path), FRAME)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK"])
def test_read_image_takes_any_mode(tmp_path, mode):
    grey = Image.fromarray(np.repeat(np.array([[0, 255, 0], [255, 0, 255]], np.uint8)[..., None], 3, axis=2))
    suffix = "tif" if mode in ("CMYK", "PA") else "png"
    frame = video.read_image(_saved(tmp_path / f"a.{suffix}", grey.convert(mode)))
    np.testing.assert_array_equal(frame, np.asarray(grey))


def test_read_image_maps_palette_and_drops_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    path = _saved(tmp_path / "p.png", picture, transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(video.read_image(path), [[(10, 20, 30), (40, 50, 60), (70, 80, 90)]])


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_read_image_keeps_the_upper_byte_of_sixteen_bits(tmp_path, suffix):
    wide = np.array([[0, 255, 256, 0x1234, 0xFFFF]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"w.{suffix}"), wide)
    expected = np.repeat((wide >> 8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(video.read_image(tmp_path / f"w.{suffix}"), expected)


def test_read_image_of_sixteen_bit_colour(tmp_path):
    wide = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "w.png"), wide)
    np.testing.assert_array_equal(video.read_image(tmp_path / "w.png"), (wide >> 8)[..., ::-1])


def _png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bomb(path):
    """A tiny PNG that claims to be 40000 pixels square."""
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + _png_chunk(b"IDAT", zlib.compress(b"")))


def _cut(path):
    Image.fromarray(FRAME).save(path)
    path.write_bytes(path.read_bytes()[:1500])


def _cut_jpeg(path):
    Image.fromarray(FRAME).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:900])


def _cut_tiff(path):
    Image.fromarray(FRAME).save(path, format="TIFF", compression="tiff_lzw")
    data = path.read_bytes()
    path.write_bytes(data[:300] + bytes(len(data) - 900) + data[-600:])


def _postscript(path):
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: path.write_bytes(b""), "of another or unknown format"),
        (lambda path: path.write_text("not a picture"), "of another or unknown format"),
        (_postscript, "of another or unknown format"),
        (_bomb, "refused, Image size .* exceeds limit"),
        (_cut, "cannot read this picture: "),
        (_cut_jpeg, "cannot read this picture: .*truncated"),
        (_cut_tiff, "cannot read this picture: "),
        (lambda path: path.mkdir(), "cannot read this picture: .*directory"),
        (lambda path: None, "cannot read this picture: .*No such file"),
        (
            lambda path: Image.fromarray(np.ones((3, 4), np.float32)).save(path, format="TIFF"),
            "8 or 16 bits .* got 32",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_read_image_refuses_in_one_line_and_in_silence(tmp_path, capfd, damage, expected):
    path = tmp_path / "broken.png"
    damage(path)
    with pytest.raises(MediaError, match=expected) as caught:
        video.read_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


# ---- write_image and write_labels


@pytest.mark.parametrize("suffix", video.IMAGE_SUFFIXES)
def test_write_image_in_every_format(tmp_path, suffix):
    smooth = _ramp(37, 23)[0]
    path = tmp_path / f"a{suffix.upper()}"
    video.write_image(path, smooth)
    difference = np.abs(video.read_image(path).astype(int) - smooth).max()
    assert difference <= (12 if suffix in (".jpg", ".jpeg", ".webp") else 0)
    assert _files(tmp_path) == [path.name]


def test_write_image_takes_a_mirrored_view(tmp_path):
    video.write_image(tmp_path / "a.png", FRAME[:, ::-1, ::-1])
    np.testing.assert_array_equal(video.read_image(tmp_path / "a.png"), FRAME[:, ::-1, ::-1])


@pytest.mark.parametrize("classes", [1, 2, 3, 5, 17, 256])
def test_labels_are_read_as_indices_and_seen_as_colours(tmp_path, classes):
    labels = RNG.integers(0, classes, (13, 9), dtype=np.uint8)
    palette = voc_palette(classes)
    video.write_labels(tmp_path / "l.png", labels, palette)
    picture = Image.open(tmp_path / "l.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), labels)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette[labels])


def test_wide_labels_make_a_sixteen_bit_png(tmp_path):
    labels = RNG.integers(0, 900, (13, 9), dtype=np.uint16)
    video.write_labels(tmp_path / "l.png", labels[:, ::-1], generated_palette(900))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "l.png")), labels[:, ::-1])
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "l.png"), cv2.IMREAD_UNCHANGED), labels[:, ::-1])


@pytest.mark.parametrize(
    ("labels", "palette", "expected"),
    [
        (
            np.zeros((2, 3), int),
            voc_palette(2),
            r"labels: expected uint8 or uint16 \(H, W\), got int64 \(2, 3\)",
        ),
        (np.zeros((0, 3), np.uint8), voc_palette(2), "labels: expected"),
        (np.full((2, 3), 7, np.uint8), voc_palette(7), "labels: expected below 7 .* got 7"),
        (np.zeros((2, 3), np.uint8), voc_palette(2)[:, 0], "palette: expected"),
    ],
)
def test_write_labels_refuses(tmp_path, labels, palette, expected):
    with pytest.raises(FrameError, match=expected):
        video.write_labels(tmp_path / "l.png", labels, palette)
    assert _files(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l.jpg", "expected a name that ends in .png"),
        ("no/l.png", "cannot write: No such file or directory"),
        ("file/l.png", "cannot write: Not a directory"),
    ],
)
def test_write_labels_refuses_the_place(tmp_path, name, expected):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match=expected):
        video.write_labels(tmp_path / name, np.zeros((2, 3), np.uint8), voc_palette(2))


@pytest.mark.parametrize("frame", [FRAME[..., 0], FRAME.astype(float), FRAME[:0]])
def test_write_image_refuses_the_frame(tmp_path, frame):
    with pytest.raises(FrameError, match=r"frame: expected uint8 \(H, W, 3\), got"):
        video.write_image(tmp_path / "a.png", frame)


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.png"
    video.write_image(path, FRAME)
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(MediaError, match="cannot write: No space left on device"):
        video.write_image(path, 255 - FRAME)
    assert path.read_bytes() == old and _files(tmp_path) == ["a.png"]


def test_a_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    video.write_image(tmp_path / "a.png", FRAME)
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


# ---- videos


@pytest.mark.parametrize("size", [(48, 64), (37, 23), (2, 2), (1, 1), (101, 64)])
def test_a_video_comes_back(tmp_path, size):
    frames = _ramp(*size)
    _write_video(tmp_path / "v.mp4", frames)
    with video.VideoReader(tmp_path / "v.mp4") as reader:
        assert reader.size == tuple(side + side % 2 for side in size)
        assert reader.rate == 12.5 and reader.frame_count == 5
        back = list(reader)
    assert len(back) == 5 and _files(tmp_path) == ["v.mp4"]
    for frame, original in zip(back, frames, strict=True):
        assert frame.dtype == np.uint8
        difference = np.abs(frame[: size[0], : size[1]].astype(int) - original)
        # Lossy, but in order, and red is not blue: the frames are 20 levels apart in red only.
        assert difference.mean() < 6


def test_an_odd_side_grows_by_its_last_row_and_column(tmp_path):
    _write_video(tmp_path / "v.mp4", _ramp(37, 23))
    frame = next(iter(video.VideoReader(tmp_path / "v.mp4"))).astype(int)
    assert np.abs(frame[-1] - frame[-2]).max() <= 6 and np.abs(frame[:, -1] - frame[:, -2]).max() <= 12


def test_reading_goes_on_where_it_stopped(tmp_path):
    _write_video(tmp_path / "v.mp4", _ramp(48, 64))
    reader = video.VideoReader(tmp_path / "v.mp4")
    for frame in reader:
        assert frame[..., 0].mean() < 110
        break
    assert len(list(reader)) == 4 and list(reader) == []
    reader.close()
    reader.close()


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_video_is_playable(tmp_path, interruption):
    frames = _ramp(48, 64)
    with pytest.raises(interruption), video.VideoWriter(tmp_path / "v.mp4", 25, (48, 64)) as writer:
        for frame in frames[:3]:
            writer.write(frame)
        assert not (tmp_path / "v.mp4").exists()
        raise interruption
    assert len(list(video.VideoReader(tmp_path / "v.mp4"))) == 3 and _files(tmp_path) == ["v.mp4"]


def test_no_frame_no_file(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"old")
    with video.VideoWriter(tmp_path / "v.mp4", 25, (48, 64)):
        pass
    assert (tmp_path / "v.mp4").read_bytes() == b"old" and _files(tmp_path) == ["v.mp4"]


def test_closing_twice_and_writing_after(tmp_path):
    writer = video.VideoWriter(tmp_path / "v.mp4", 25, (48, 64))
    writer.write(_ramp(48, 64)[0])
    writer.close()
    writer.close()
    with pytest.raises(MediaError, match="the video is closed"):
        writer.write(_ramp(48, 64)[0])


def test_a_video_that_cannot_be_finished_leaves_nothing(tmp_path):
    writer = video.VideoWriter(tmp_path / "v.mp4", 25, (48, 64))
    writer.write(_ramp(48, 64)[0])
    writer._part.unlink()
    with pytest.raises(MediaError, match="cannot finish this video: it cannot be read back"):
        writer.close()
    assert _files(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("v.avi", 25, (48, 64)), "expected a name that ends in .mp4"),
        (("v.mp4", 0, (48, 64)), "expected rate and size above 0, got rate 0"),
        (("v.mp4", float("nan"), (48, 64)), "got rate nan"),
        (("v.mp4", 25, (0, 64)), r"size \(0, 64\)"),
        (("none/v.mp4", 25, (48, 64)), "check folder and free space"),
    ],
)
def test_writer_refuses(tmp_path, capfd, arguments, expected):
    name, rate, size = arguments
    with pytest.raises(MediaError, match=expected):
        video.VideoWriter(tmp_path / name, rate, size)
    assert _files(tmp_path) == [] and capfd.readouterr() == ("", "")


def test_writer_refuses_frames_of_another_size(tmp_path):
    with video.VideoWriter(tmp_path / "v.mp4", 25, (48, 64)) as writer:
        with pytest.raises(FrameError, match=r"expected \(height, width\) \(48, 64\), got \(64, 48\)"):
            writer.write(np.zeros((64, 48, 3), np.uint8))
        with pytest.raises(FrameError, match="got float64"):
            writer.write(np.zeros((48, 64, 3)))


BROKEN_VIDEOS = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"no video at all\n" * 40,
    "cut": lambda whole: whole[: len(whole) // 2],
    "no frames": lambda whole: (
        whole[: whole.index(b"mdat") + 4]
        + bytes(whole.index(b"moov") - whole.index(b"mdat") - 8)
        + whole[whole.index(b"moov") - 4 :]
    ),
}


@pytest.mark.parametrize("damage", BROKEN_VIDEOS)
def test_a_broken_video_is_one_error_and_silence(tmp_path, damage):
    """In a process of its own: FFmpeg writes past Python, and keeps its level from the first use."""
    _write_video(tmp_path / "v.mp4", _ramp(48, 64))
    path = tmp_path / "b.mp4"
    path.write_bytes(BROKEN_VIDEOS[damage]((tmp_path / "v.mp4").read_bytes()))
    code = (
        "import sys; from fcnrt import video; from fcnrt.errors import MediaError\n"
        "try: print(sum(1 for _ in video.VideoReader(sys.argv[1])))\n"
        "except MediaError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("OPENCV_FFMPEG_LOGLEVEL", None)
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: cannot decode a single frame; expected a whole, readable video file\n"
    assert done.stderr == ""


def test_a_missing_video(tmp_path):
    with pytest.raises(MediaError, match="expected a video file, found none"):
        video.VideoReader(tmp_path / "none.mp4")


def test_opencv_gets_its_log_level_back(tmp_path):
    logging = cv2 if hasattr(cv2, "getLogLevel") else cv2.utils.logging
    before = logging.getLogLevel()
    _write_video(tmp_path / "v.mp4", _ramp(48, 64))
    list(video.VideoReader(tmp_path / "v.mp4"))
    assert logging.getLogLevel() == before


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("PIL", lambda folder: video.read_image(folder / "a.png")),
        ("PIL", lambda folder: video.write_image(folder / "a.png", FRAME)),
        ("cv2", lambda folder: video.VideoWriter(folder / "v.mp4", 25, (48, 64))),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch, module, use):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == module:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match=r"pip install fcnrt\[video\]"):
        use(tmp_path)
