"""Pictures to files, by Pillow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..contract.files import discard, discard_left_behind, part_name, put_in_place
from ..contract.types import UInt8Array
from ..errors import FrameError, MediaError, first_line, needs
from .inputs import check_suffix
from .palette import check_palette

if TYPE_CHECKING:
    from PIL import Image


WRITABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
_LOSSY_QUALITY = 95
_SENT_QUALITY = 80


def write_image(path: str | Path, frame_hwc: UInt8Array) -> None:
    """Write a picture in the format that its extension names; JPEG and WebP at quality 95.

    Args:
        path: where to; an existing file is replaced.
        frame_hwc: (H, W, 3) uint8, RGB.

    Raises:
        FrameError: the frame has another shape or dtype.
        MediaError: the extension is unknown or the file cannot be written.
        MissingDependency: Pillow is not installed.
    """
    check_frame(frame_hwc)
    with needs("Pillow"):
        from PIL import Image
    _save(Image.fromarray(np.ascontiguousarray(frame_hwc)), Path(path), WRITABLE_SUFFIXES)


def write_labels(path: str | Path, labels_hw: npt.NDArray[Any], palette: UInt8Array | None) -> None:
    """Write labels as a PNG that viewers show in colours and programs read as class indices.

    `fcnrt.read_labels` and Pillow read the indices of both kinds; OpenCV turns a palette into colours, and reads the
    indices of grey PNGs alone, with cv2.IMREAD_UNCHANGED.

    Args:
        path: a name that ends in .png; an existing file is replaced.
        labels_hw: (H, W). uint8 makes a palette PNG; uint16 a 16-bit greyscale PNG, without colours
            because a PNG palette has no more than 256.
        palette: (count, 3) uint8, RGB, with a colour for every label; None for a plain grey PNG, 8 or 16 bits.

    Raises:
        FrameError: labels or palette have another shape or dtype, or a label has no colour.
        MediaError: the extension is not .png or the file cannot be written.
        MissingDependency: Pillow is not installed.
    """
    _save(_labels_picture(labels_hw, palette), Path(path), (".png",))


def jpeg_of(frame_hwc: UInt8Array) -> bytes:
    """A picture as a JPEG file's bytes, small enough to be sent for each frame.

    Args:
        frame_hwc: (H, W, 3) uint8, RGB.

    Raises:
        FrameError: the frame has another shape or dtype.
        MissingDependency: Pillow is not installed.
    """
    check_frame(frame_hwc)
    with needs("Pillow"):
        from PIL import Image
    return _encoded(Image.fromarray(np.ascontiguousarray(frame_hwc)), "JPEG", quality=_SENT_QUALITY)


def png_of_labels(labels_hw: npt.NDArray[Any], palette: UInt8Array | None) -> bytes:
    """Labels as the bytes of a PNG file; the rest as in `write_labels`."""
    return _encoded(_labels_picture(labels_hw, palette), "PNG", compress_level=1)


def check_frame(frame_hwc: UInt8Array) -> None:
    if frame_hwc.ndim != 3 or frame_hwc.shape[2] != 3 or not frame_hwc.size or frame_hwc.dtype != np.uint8:
        raise FrameError(f"frame: expected uint8 (H, W, 3), got {frame_hwc.dtype} {frame_hwc.shape}")


def _labels_picture(labels_hw: npt.NDArray[Any], palette: UInt8Array | None) -> Image.Image:
    if labels_hw.ndim != 2 or not labels_hw.size or labels_hw.dtype not in (np.uint8, np.uint16):
        raise FrameError(f"labels: expected uint8 or uint16 (H, W), got {labels_hw.dtype} {labels_hw.shape}")
    if palette is not None:
        check_palette(labels_hw, palette)
    with needs("Pillow"):
        from PIL import Image
    picture = Image.fromarray(np.ascontiguousarray(labels_hw))
    if palette is not None and labels_hw.dtype == np.uint8:
        picture.putpalette(palette[:256].tobytes())
    return picture


def _encoded(picture: Image.Image, file_format: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def _save(picture: Image.Image, path: Path, suffixes: tuple[str, ...]) -> None:
    check_suffix(path, suffixes)
    discard_left_behind(path.parent, path.suffix)
    part = part_name(path)
    options: dict[str, Any] = {"quality": _LOSSY_QUALITY} if path.suffix.lower() in _LOSSY_SUFFIXES else {}
    try:
        picture.save(part, **options)
        put_in_place(part, path)
    except OSError as error:
        raise MediaError(f"{path}: cannot write: {error.strerror or first_line(error)}") from error
    finally:
        discard(part)
