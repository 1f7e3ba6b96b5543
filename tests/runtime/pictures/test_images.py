"""Pictures in and out of files."""

import struct
import zlib

import numpy as np
import pytest

import fcnrt
from fcnrt.errors import FrameError, MediaError, MissingDependency
from fcnrt.pictures.palette import generated_palette, voc_palette
from fcnrt.pictures.reading import read_image
from fcnrt.pictures.writing import WRITABLE_SUFFIXES, write_image, write_labels

Image = pytest.importorskip("PIL.Image")
cv2 = pytest.importorskip("cv2")

RNG = np.random.default_rng(11)
FRAME = RNG.integers(0, 256, (37, 23, 3), dtype=np.uint8)


def _smooth(height, width):
    """A picture that a lossy format keeps nearly as it is."""
    slope = np.linspace(0, 90, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return (slope + np.array((0, 10, 60))).astype(np.uint8)


def _files(folder):
    return sorted(path.name for path in folder.iterdir())


def _saved(path, picture, **options):
    picture.save(path, **options)
    return path


def test_read_image_gives_the_pixels_back(tmp_path):
    frame = read_image(_saved(tmp_path / "a.png", Image.fromarray(FRAME)))
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
    np.testing.assert_array_equal(read_image(path), FRAME)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK"])
def test_read_image_takes_any_mode(tmp_path, mode):
    grey = Image.fromarray(np.repeat(np.array([[0, 255, 0], [255, 0, 255]], np.uint8)[..., None], 3, axis=2))
    suffix = "tif" if mode in ("CMYK", "PA") else "png"
    frame = read_image(_saved(tmp_path / f"a.{suffix}", grey.convert(mode)))
    np.testing.assert_array_equal(frame, np.asarray(grey))


def test_read_image_maps_palette_and_drops_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    path = _saved(tmp_path / "p.png", picture, transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(read_image(path), [[(10, 20, 30), (40, 50, 60), (70, 80, 90)]])


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_read_image_keeps_the_upper_byte_of_sixteen_bits(tmp_path, suffix):
    wide = np.array([[0, 255, 256, 0x1234, 0xFFFF]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"w.{suffix}"), wide)
    expected = np.repeat((wide >> 8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / f"w.{suffix}"), expected)


def test_read_image_of_sixteen_bit_colour(tmp_path):
    wide = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "w.png"), wide)
    np.testing.assert_array_equal(read_image(tmp_path / "w.png"), (wide >> 8)[..., ::-1])


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
        (_bomb, r"refused, it claims 1600 megapixels, more than 179; .* add --max-megapixels 1601 "),
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
        read_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_write_image_in_every_format(tmp_path, suffix):
    smooth = _smooth(37, 23)
    path = tmp_path / f"a{suffix.upper()}"
    write_image(path, smooth)
    difference = np.abs(read_image(path).astype(int) - smooth).max()
    assert difference <= (12 if suffix in (".jpg", ".jpeg", ".webp") else 0)
    assert _files(tmp_path) == [path.name]


def test_write_image_takes_a_mirrored_view(tmp_path):
    write_image(tmp_path / "a.png", FRAME[:, ::-1, ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), FRAME[:, ::-1, ::-1])


@pytest.mark.parametrize("classes", [1, 2, 3, 5, 17, 256])
def test_labels_are_read_as_indices_and_seen_as_colours(tmp_path, classes):
    labels = RNG.integers(0, classes, (13, 9), dtype=np.uint8)
    palette = voc_palette(classes)
    write_labels(tmp_path / "l.png", labels, palette)
    picture = Image.open(tmp_path / "l.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), labels)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette[labels])


def test_wide_labels_make_a_sixteen_bit_png(tmp_path):
    labels = RNG.integers(0, 900, (13, 9), dtype=np.uint16)
    write_labels(tmp_path / "l.png", labels[:, ::-1], generated_palette(900))
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
        write_labels(tmp_path / "l.png", labels, palette)
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
        write_labels(tmp_path / name, np.zeros((2, 3), np.uint8), voc_palette(2))


@pytest.mark.parametrize("frame", [FRAME[..., 0], FRAME.astype(float), FRAME[:0]])
def test_write_image_refuses_the_frame(tmp_path, frame):
    with pytest.raises(FrameError, match=r"frame: expected uint8 \(H, W, 3\), got"):
        write_image(tmp_path / "a.png", frame)


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.png"
    write_image(path, FRAME)
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(MediaError, match="cannot write: No space left on device"):
        write_image(path, 255 - FRAME)
    assert path.read_bytes() == old and _files(tmp_path) == ["a.png"]


def test_a_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_image(tmp_path / "a.png", FRAME)
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("use", [lambda path: read_image(path), lambda path: write_image(path, FRAME)])
def test_a_missing_package_is_named_with_its_remedy(tmp_path, hide_package, use):
    hide_package("PIL")
    with pytest.raises(MissingDependency, match=r"Pillow is needed for this: .* -m pip install .*\[video\]"):
        use(tmp_path / "a.png")


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 20), (np.uint16, 3000)])
def test_labels_come_back_by_our_reader_and_grey_ones_by_opencv(tmp_path, dtype, top):
    labels = RNG.integers(0, top + 1, (23, 37)).astype(dtype)
    write_labels(tmp_path / "palette.png", labels, generated_palette(top + 1))
    write_labels(tmp_path / "grey.png", labels, None)
    for name in ("palette.png", "grey.png"):
        read = fcnrt.read_labels(tmp_path / name)
        assert read.dtype == dtype and np.array_equal(read, labels)
    assert np.array_equal(cv2.imread(str(tmp_path / "grey.png"), cv2.IMREAD_UNCHANGED), labels)
    write_image(tmp_path / "colours.png", FRAME)
    with pytest.raises(MediaError, match="expected labels, a palette or grey PNG, got one of mode RGB"):
        fcnrt.read_labels(tmp_path / "colours.png")
