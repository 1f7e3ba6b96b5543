"""Whether a file is a picture or a film: by its suffix where the table knows that, else by its first bytes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

Kind = Literal["picture", "film"]

# The one table of suffixes.
_PICTURES = (
    ".png .apng .jpg .jpeg .jpe .jfif .bmp .dib .tif .tiff .webp .ppm .pgm .pbm .pnm .gif "
    ".avif .avifs .heic .heif .hif .jp2 .j2k .j2c .jpc .jpx .jpf"
)
_FILMS = (
    ".mp4 .m4v .mov .qt .3gp .3g2 .mkv .webm .avi .divx .mpg .mpeg .mpe .m1v .m2v .vob .ts .mts .m2ts .m2t .wmv .asf "
    ".flv .f4v .ogv .ogm .mxf .dv .nut .ivf .obu .h264 .264 .avc .h265 .265 .hevc .vvc .266 .mjpeg .mjpg .y4m .rm "
    ".rmvb .wtv .amv .gxf"
)
PICTURE_SUFFIXES, FILM_SUFFIXES = tuple(_PICTURES.split()), tuple(_FILMS.split())
_TABLE: dict[str, Kind] = {
    **dict.fromkeys(PICTURE_SUFFIXES, "picture"),
    **dict.fromkeys(FILM_SUFFIXES, "film"),
}

# The first bytes that only files of one kind have. Not TIFF's: cameras' raw files begin so, with a thumbnail.
_BEGINNINGS: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\xff\xd8\xff", "picture"),
    (0, b"\x89PNG\r\n\x1a\n", "picture"),
    (0, b"GIF8", "picture"),
    (8, b"WEBP", "picture"),
    (0, b"\0\0\0\x0cjP  \r\n", "picture"),
    (0, b"\xff\x4f\xff\x51", "picture"),  # a bare JPEG 2000 codestream
    (0, b"\x1aE\xdf\xa3", "film"),  # Matroska and WebM
    (8, b"AVI ", "film"),
    (0, b"FLV\x01", "film"),
    (0, b"OggS", "film"),
    (0, b"\0\0\x01\xba", "film"),  # MPEG's program streams
    (0, b"\0\0\x01\xb3", "film"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "film"),  # ASF
    (0, b"YUV4MPEG2 ", "film"),
    (0, b"DKIF", "film"),
    (0, b"\x06\x0e+4\x02\x05\x01", "film"),  # MXF
    (0, b".RMF", "film"),
    (4, b"moov", "film"),
    (4, b"mdat", "film"),
    (4, b"wide", "film"),
)
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")  # of ISO's media files
_TRANSPORT_PACKETS = ((0, 188), (4, 192))  # where a byte 0x47 begins one, and how long they are
_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")


def kind_of(path: str | Path) -> Kind | None:
    """What a file is; None where neither its name nor its first bytes tell, or there is none.

    A picture that moves is a film.
    """
    kind = _kind_by_name_or_contents(Path(path))
    return "film" if kind == "picture" and is_animated(path) else kind


def is_media(path: str | Path) -> bool:
    """Whether a file is a picture or a film."""
    return _kind_by_name_or_contents(Path(path)) is not None


def is_animated(path: str | Path) -> bool:
    """Whether a file is a picture of several frames that follow one another in time."""
    try:
        from PIL import Image
    except ImportError:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_ANIMATED_FORMATS) as picture:
                return bool(getattr(picture, "is_animated", False))
    except Exception:  # of nearly any type where a file is damaged, which will be told when it is read
        return False


def _kind_by_name_or_contents(path: Path) -> Kind | None:
    return _TABLE.get(path.suffix.lower()) or _kind_by_contents(path)


def _kind_by_contents(path: Path) -> Kind | None:
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError:
        return None
    if head[4:8] == b"ftyp":
        return "picture" if head[8:12] in _PICTURE_BRANDS else "film"
    for offset, packet in _TRANSPORT_PACKETS:
        if len(head) > offset + 4 * packet and all(head[offset + index * packet] == 0x47 for index in range(5)):
            return "film"
    return next((kind for at, begin, kind in _BEGINNINGS if head[at : at + len(begin)] == begin), None)
