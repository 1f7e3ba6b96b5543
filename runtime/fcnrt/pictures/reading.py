"""Pictures from files, or from bytes at hand, to upright RGB of eight bits, by Pillow."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import threading
import warnings
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..contract.types import Array, UInt8Array
from ..errors import FcnrtError, MediaError, first_line, needs
from .quiet import quiet_stderr

if TYPE_CHECKING:
    from PIL import Image

Levels = tuple[float, float]
Source = str | Path | bytes  # a file, or what would be in it

# Named, because Pillow goes by content and would hand a disguised EPS file to Ghostscript.
_PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "PPM", "GIF", "AVIF", "HEIF", "JPEG2000")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_FFMPEG_FORMATS = {"PNG": "png_pipe", "TIFF": "tiff_pipe"}  # that it decodes to 16 bits of colour, which Pillow cannot

_SHADES = 65536  # of a picture with 16 bits
_POOR = 16  # one that uses less than one part in these of its range is told of
_ORIENTATION = 0x0112  # in EXIF
_STANDSTILL_S, _SHORTEST_S = Fraction(1, 10), Fraction(1, 100)  # browsers show frames of up to 10 ms for 100

_PILLOWS_SWITCHES = threading.RLock()  # they are global


def read_image(
    source: Source | BinaryIO,
    *,
    levels: Levels | None = None,
    max_pixels: int | None = None,
    notes: list[str] | None = None,
) -> UInt8Array:
    """Read a picture upright (EXIF orientation applied), whatever its mode.

    Transparency is dropped, and of several pages or frames the first is read. Channels of more than eight bits keep
    their upper eight, or are mapped by `levels`.

    Args:
        source: a picture in a format that Pillow reads; HEIC with pi-heif. A file's path, its content, or an open file
            of bytes, which is read to its end; messages call the last two "picture".
        levels: the values that become black and white, of pictures with more than eight bits per channel.
        max_pixels: the largest picture to read (default: Pillow's own limit).
        notes: a list that takes a line for each thing that was not as it should be: a JPEG that lacks its end, which is
            read as far as it goes, further pages, a 16-bit picture that uses less than a sixteenth of its range.
            Without the list a JPEG that lacks its end is refused.

    Returns:
        (H, W, 3) uint8, RGB, writable.

    Raises:
        MediaError: the file is missing, no picture, cut off, too large, or has 32 bits per channel and no `levels`.
        MissingDependency: Pillow or pi-heif is not installed.
    """
    if not isinstance(source, str | Path | bytes):
        source = source.read()
    reading = _Reading(source, levels, max_pixels)
    try:
        frame = reading.frame()
    except _CutOff as error:
        if notes is None:
            raise MediaError(f"{_called(source)}: cannot read this picture: {error}") from error
        with _reading_cut_files():
            frame = reading.frame()
        reading.said.append("lacks its end; read as far as it goes")
    if notes is not None:
        notes.extend(f"{_called(source)}: {text}" for text in reading.said)
    return frame


def read_animation(
    path: str | Path, *, max_pixels: int | None = None
) -> Generator[tuple[UInt8Array, Fraction], None, None]:
    """Read the frames of a moving picture: GIF, animated PNG, WebP or AVIF.

    Yields:
        (H, W, 3) uint8, RGB, and for how many seconds it stands; frames of up to 10 ms stand for 100, as in browsers.

    Raises:
        MediaError, MissingDependency: as `read_image`.
    """
    with _opened(path, max_pixels) as picture:
        for index in itertools.count():
            try:
                picture.seek(index)
            except EOFError:
                return
            pixels = np.array(picture.convert("RGB"))
            seconds = Fraction(round(picture.info.get("duration") or 0), 1000)
            yield pixels, seconds if seconds > _SHORTEST_S else _STANDSTILL_S


def animation_length(path: str | Path) -> int | None:
    """How many frames a moving picture has; None where it is damaged."""
    with contextlib.suppress(MediaError), _opened(path, None) as picture:
        return int(getattr(picture, "n_frames", 1))
    return None


def read_labels(path: str | Path) -> Array:
    """Read the class indices of a PNG that `fcnrt segment` or `write_labels` made, palette or grey.

    Returns:
        (H, W), uint8, or uint16 of a 16-bit one.

    Raises:
        MediaError: it is missing, damaged, or no picture of labels.
        MissingDependency: Pillow is not installed.
    """
    with _opened(path, None) as picture:
        if picture.mode not in ("L", "P", "I", "I;16"):
            raise MediaError(f"{path}: expected labels, a palette or grey PNG, got one of mode {picture.mode}")
        labels = np.array(picture)
        return labels if labels.dtype == np.uint8 else labels.astype(np.uint16)


class _CutOff(Exception):
    """A JPEG lacks its end."""


class _Reading:
    """One picture on its way to eight bits; what there is to say of it gathers in `said`."""

    def __init__(self, source: Source, levels: Levels | None, max_pixels: int | None) -> None:
        self._source, self._levels, self._max_pixels = source, levels, max_pixels
        self.said: list[str] = []

    def frame(self) -> UInt8Array:
        self.said = []
        with _opened(self._source, self._max_pixels) as picture:
            if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
                self.said.append(f"has {picture.n_frames} pages; the first is read")
            deep = picture.mode in ("RGB", "RGBA") and ";16" in repr(picture.tile)
            if deep and self._levels and picture.format in _FFMPEG_FORMATS:
                reduced = mapped(_deep_colour(self._source, picture.format), self._levels)
                return _upright(reduced, picture.getexif().get(_ORIENTATION))
            turned = _turned(picture)
            if deep:  # reduced to eight bits by Pillow
                self._tell_of_range(0, 256 * int(np.asarray(turned).max()) + 255)
            return np.array(self._eight_bits(turned, picture.format).convert("RGB"))

    def _eight_bits(self, picture: Image.Image, file_format: str) -> Image.Image:
        """Reduce 16 bits of grey, which Pillow would clip; and 32 bits where there are levels."""
        from PIL import Image

        if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
            return picture
        values = np.asarray(picture)
        if self._levels:
            return Image.fromarray(mapped(values, self._levels))
        # Pillow opens 16-bit PGM, and old versions 16-bit PNG, in its 32-bit mode.
        if picture.mode == "F" or (picture.mode == "I" and file_format not in ("PNG", "PPM")):
            raise MediaError(
                f"{_called(self._source)}: expected 8 or 16 bits per channel, got 32, with values from "
                f"{values.min():g} to {values.max():g}; say by --levels LOW-HIGH which become black and white"
            )
        self._tell_of_range(int(values.min()), int(values.max()))
        return Image.fromarray((values >> 8).astype(np.uint8))

    def _tell_of_range(self, lowest: int, highest: int) -> None:
        """Note where a 16-bit picture has far fewer shades than it could."""
        if not 0 < highest - lowest < _SHADES // _POOR:
            return
        top = (1 << highest.bit_length()) - 1
        better = f"0-{top}" if top < _SHADES // _POOR else f"{lowest}-{highest}"
        self.said.append(f"uses {lowest} to {highest} of 0 to {_SHADES - 1}; add --levels {better}")


@contextlib.contextmanager
def _opened(source: Source, max_pixels: int | None) -> Iterator[Any]:
    """Open a picture; whatever goes wrong in the block becomes a MediaError."""
    with needs("Pillow"):
        from PIL import Image, UnidentifiedImageError
    try:
        # Pillow warns of large pictures, odd EXIF data and transparency, none of which matters here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _know_heif(source)
            with _limit(max_pixels):
                opened = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats())
            with opened as picture:
                yield picture
    except (FcnrtError, _CutOff):
        raise
    except UnidentifiedImageError as error:
        raise MediaError(f"{_called(source)}: expected a picture, got a file of another or unknown format") from error
    except Image.DecompressionBombError as error:
        raise MediaError(f"{_called(source)}: refused, {_too_large(error)}") from error
    # A damaged file can make a decoder raise nearly anything: struct, zlib, SyntaxError, IndexError.
    except Exception as error:
        if "truncated" in str(error) and _begins_as_jpeg(source):
            raise _CutOff(first_line(error)) from error
        raise MediaError(f"{_called(source)}: cannot read this picture: {first_line(error)}") from error


def _content(source: Source) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def _called(source: Source) -> str:
    """What messages call it."""
    return "picture" if isinstance(source, bytes) else str(source)


def _formats() -> list[str]:
    """Those of our formats that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return [name for name in _PILLOW_FORMATS if name in Image.OPEN]


def _turned(picture: Any) -> Any:
    from PIL import ImageOps

    with quiet_stderr() if picture.format == "TIFF" else contextlib.nullcontext():
        turned = ImageOps.exif_transpose(picture)
    return turned


def mapped(values: Array, levels: Levels) -> UInt8Array:
    """Values of any shape and type, those between two levels as 0 to 255."""
    if values.dtype in (np.uint8, np.uint16):  # by a table, which takes no memory for wider types
        table = _mapped(np.arange(np.iinfo(values.dtype).max + 1), levels)
        reduced: UInt8Array = table[values]
        return reduced
    return _mapped(values, levels)


def _mapped(values: Array, levels: Levels) -> UInt8Array:
    low, high = levels
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    reduced: UInt8Array = np.nan_to_num(np.clip(np.rint(scaled), 0, 255)).astype(np.uint8)
    return reduced


def _deep_colour(source: Source, file_format: str) -> Array:
    """(H, W, 3) uint16, by FFmpeg."""
    with needs("PyAV"):
        import av
    with _content(source) as file, av.open(file, "r", format=_FFMPEG_FORMATS[file_format]) as container:
        frame: Array = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    return frame


def _upright(frame_hwc: UInt8Array, orientation: int | None) -> UInt8Array:
    from PIL import Image

    picture = Image.fromarray(frame_hwc)
    picture.getexif()[_ORIENTATION] = orientation or 1
    return np.array(_turned(picture))


def _know_heif(source: Source) -> None:
    """Teach Pillow HEIC where a file is of that kind."""
    with _content(source) as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        with needs("pi-heif"):
            import pi_heif
        pi_heif.register_heif_opener()


def _begins_as_jpeg(source: Source) -> bool:
    with _content(source) as file:
        return file.read(2) == b"\xff\xd8"


@contextlib.contextmanager
def _limit(max_pixels: int | None) -> Iterator[None]:
    """Have Pillow refuse pictures of more pixels than these."""
    from PIL import Image

    if max_pixels is None:
        yield
        return
    with _PILLOWS_SWITCHES:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels // 2  # it refuses twice as many
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _too_large(error: Exception) -> str:
    """What a picture has that Pillow found too large, and how to read it nevertheless."""
    counts = re.findall(r"(\d+) pixels", str(error))
    if len(counts) != 2:
        return first_line(error)
    found, limit = (int(count) / 1e6 for count in counts)
    return (
        f"it claims {found:.0f} megapixels, more than {limit:.0f}; "
        f"if you trust it, add --max-megapixels {int(found) + 1} (max_pixels= in Python)"
    )


@contextlib.contextmanager
def _reading_cut_files() -> Iterator[None]:
    """Have Pillow fill with grey what a file lacks."""
    from PIL import ImageFile

    with _PILLOWS_SWITCHES:
        usual, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = usual
