"""Pictures as they come: newer formats, many bits, missing ends, several frames."""

from fractions import Fraction

import numpy as np
import pytest

from fcnrt.errors import MediaError, MissingDependency
from fcnrt.pictures.kinds import kind_of
from fcnrt.pictures.reading import read_animation, read_image

Image = pytest.importorskip("PIL.Image")
cv2 = pytest.importorskip("cv2")
pytest.importorskip("av")
from helpers.heic import heic  # noqa: E402

SLOPE = np.linspace(0, 200, 37 * 23).reshape(37, 23)
SMOOTH = np.stack((SLOPE, SLOPE[::-1], SLOPE / 2), axis=-1).astype(np.uint8)


def _close(read, expected, most=12):
    return read.shape == expected.shape and abs(read.astype(int) - expected).max() <= most


@pytest.mark.parametrize("name", ["a.jfif", "a.jp2", "a.j2k", "a.avif", "a.gif", "a.dib", "a.pbm_"])
def test_further_formats(tmp_path, name):
    path = tmp_path / name
    file_format = {"jfif": "JPEG", "j2k": "JPEG2000", "pbm_": "PPM"}.get(name[2:])
    Image.fromarray(SMOOTH).save(path, format=file_format)
    assert _close(read_image(path), SMOOTH, most=40 if name == "a.gif" else 12)


def test_heic(tmp_path, hide_package):
    pytest.importorskip("pi_heif")
    path, even = tmp_path / "photo.heic", SMOOTH[:36, :22].repeat(3, axis=0).repeat(4, axis=1)
    path.write_bytes(heic(even))
    assert _close(read_image(path), even, most=30) and kind_of(path) == "picture"
    assert kind_of(path.rename(tmp_path / "photo")) == "picture"
    hide_package("pi_heif")
    with pytest.raises(MissingDependency, match="pi-heif is needed"):
        read_image(tmp_path / "photo")


def _cut_jpeg(path, share, **options):
    Image.fromarray(SMOOTH).save(path, format="JPEG", quality=95, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_that_lacks_its_end_is_read_with_a_note(tmp_path, options):
    path, notes = _cut_jpeg(tmp_path / "a.jpg", 0.9, **options), []
    frame = read_image(path, notes=notes)
    assert _close(frame[:16], SMOOTH[:16], most=60) and notes == [f"{path}: lacks its end; read as far as it goes"]
    with pytest.raises(MediaError, match="truncated"):  # who takes no notes
        read_image(path)


def test_a_jpeg_without_its_end_mark_alone_is_whole(tmp_path):
    path, notes = tmp_path / "a.jpg", []
    Image.fromarray(SMOOTH).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-2])
    assert _close(read_image(path, notes=notes), SMOOTH) and len(notes) <= 1


def test_a_jpeg_without_any_picture_is_refused(tmp_path):
    path = _cut_jpeg(tmp_path / "a.jpg", 1)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(MediaError, match=r"a\.jpg: "):
        read_image(path, notes=[])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_spread_twelve_bits(tmp_path, name, channels):
    values = np.random.default_rng(3).integers(0, 4096, (37, 23, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / name), values)
    expected = np.broadcast_to(np.rint(values[..., ::-1] * (255 / 4095)), (37, 23, 3))
    notes = []
    assert np.array_equal(read_image(tmp_path / name, levels=(0, 4095), notes=notes), expected) and notes == []
    dark = read_image(tmp_path / name, notes=notes)
    assert dark.max() < 16 and len(notes) == 1 and notes[0].endswith("of 0 to 65535; add --levels 0-4095")


def test_levels_turn_pictures_upright_too(tmp_path):
    values = np.random.default_rng(3).integers(0, 4096, (37, 23, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.tif"), values)
    with Image.open(tmp_path / "a.tif") as picture:
        tags = picture.tag_v2
        tags[0x0112] = 6
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.find(b"\x12\x01\x03\x00\x01\x00\x00\x00")
    if place < 0:
        pytest.skip("OpenCV wrote no orientation")
    data[place + 8] = 6
    (tmp_path / "a.tif").write_bytes(data)
    expected = np.rot90(np.rint(values[..., ::-1] * (255 / 4095)), -1)
    assert np.array_equal(read_image(tmp_path / "a.tif", levels=(0, 4095)), expected)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0, 4000, "uses 0 to 4000 of 0 to 65535; add --levels 0-4095"),
        (0, 200, "uses 0 to 200 of 0 to 65535; add --levels 0-255"),
        (30000, 33000, "uses 30000 to 33000 of 0 to 65535; add --levels 30000-33000"),
        (0, 5000, None),
        (700, 700, None),  # a picture of one shade
    ],
)
def test_a_range_that_is_hardly_used_is_told(tmp_path, low, high, told):
    path, notes = tmp_path / "a.png", []
    cv2.imwrite(str(path), np.linspace(low, high, 45 * 31).reshape(45, 31).astype(np.uint16))
    read_image(path, notes=notes)
    assert notes == ([f"{path}: {told}"] if told else [])


def test_levels_leave_eight_bits_alone_and_open_32(tmp_path):
    Image.fromarray(SMOOTH).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", levels=(0, 4095)), SMOOTH)
    Image.fromarray(SLOPE.astype(np.float32) / 200).save(tmp_path / "f.tif")
    with pytest.raises(MediaError, match=r"got 32, with values from 0 to 1; say by --levels LOW-HIGH"):
        read_image(tmp_path / "f.tif")
    assert _close(read_image(tmp_path / "f.tif", levels=(0, 1))[..., 1], np.rint(SLOPE * (255 / 200)), most=1)


def test_further_pages_are_told(tmp_path):
    path, notes = tmp_path / "a.tif", []
    Image.fromarray(SMOOTH).save(path, save_all=True, append_images=[Image.fromarray(255 - SMOOTH)])
    assert np.array_equal(read_image(path, notes=notes), SMOOTH)
    assert notes == [f"{path}: has 2 pages; the first is read"]


def test_the_limit_of_pixels_can_be_moved(tmp_path, monkeypatch):
    Image.fromarray(SMOOTH).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="add --max-megapixels 1 "):
        read_image(tmp_path / "a.png", max_pixels=500)
    assert read_image(tmp_path / "a.png", max_pixels=900).shape == SMOOTH.shape
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(MediaError, match="refused"):
        read_image(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=900).shape == SMOOTH.shape
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "avif"])
def test_frames_of_a_moving_picture(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [Image.fromarray(np.full((36, 24, 3), shade, np.uint8)) for shade in (40, 130, 220)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 500, 70])
    read = list(read_animation(path))
    assert [round(pixels.mean() / 90 - 40 / 90) for pixels, _ in read] == [0, 1, 2]
    assert all(pixels.shape == (36, 24, 3) and pixels.dtype == np.uint8 for pixels, _ in read)
    assert [seconds for _, seconds in read] == [Fraction(4, 100), Fraction(5, 10), Fraction(7, 100)]


def test_frames_without_a_time_stand_as_in_browsers(tmp_path):
    frames = [Image.fromarray(np.full((6, 4, 3), shade, np.uint8)) for shade in (40, 130)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=0)
    assert [seconds for _, seconds in read_animation(tmp_path / "a.gif")] == [Fraction(1, 10)] * 2


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_bytes_and_open_files_are_read_as_files_are(tmp_path, file_format):
    path = tmp_path / "a"
    Image.fromarray(SMOOTH).save(path, format=file_format)
    expected = read_image(path)
    with path.open("rb") as file:
        assert np.array_equal(read_image(file), expected)
    assert np.array_equal(read_image(path.read_bytes()), expected)


def test_sixteen_bits_of_colour_and_what_is_to_say_of_them_come_from_bytes_too(tmp_path):
    path, notes, deep = tmp_path / "a.png", [], np.round(SMOOTH.astype(np.uint16) * 10)
    cv2.imwrite(str(path), deep[..., ::-1])
    read_image(path.read_bytes(), notes=notes)
    assert notes == ["picture: uses 0 to 2047 of 0 to 65535; add --levels 0-2047"]
    levels = (0, 2047)
    assert np.array_equal(read_image(path.read_bytes(), levels=levels), read_image(path, levels=levels))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "picture: expected a picture, got a file of another or unknown format"),
        (b"\xff\xd8 and no more", "picture: "),
    ],
)
def test_bytes_that_are_no_picture_are_told(content, why):
    with pytest.raises(MediaError, match=why):
        read_image(content)


def test_heic_from_bytes(tmp_path):
    pytest.importorskip("pi_heif")
    even = SMOOTH[:36, :22].repeat(3, axis=0).repeat(4, axis=1)
    assert _close(read_image(heic(even)), even, most=30)


def test_a_jpeg_in_bytes_that_lacks_its_end_is_read_with_a_note(tmp_path):
    notes = []
    read_image(_cut_jpeg(tmp_path / "a.jpg", 0.9).read_bytes(), notes=notes)
    assert notes == ["picture: lacks its end; read as far as it goes"]
