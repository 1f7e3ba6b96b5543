"""Pictures and videos in and out of files: RGB frames on one side, whole files on the other.

Every file is written under a temporary name beside its own, flushed to the disk and then renamed:
a name that exists holds a whole file. Pillow and OpenCV are imported where they are used.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import secrets
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import FrameError, MediaError, MissingDependency
from .palette import check_palette

if TYPE_CHECKING:
    from PIL import Image

UInt8Array = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv")

_KNOWN_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES

# Named, because Pillow goes by content and would hand a disguised EPS file to Ghostscript.
_PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")

_LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
_LOSSY_QUALITY = 95


def find_inputs(patterns: Sequence[str | Path]) -> list[Path]:
    """List the pictures and videos that files, folders and glob patterns name.

    Args:
        patterns: a file by its name, a folder (its pictures and videos, without its subfolders), or a
            glob pattern (`**` crosses folders). Hidden files are left out unless named.

    Returns:
        the files, sorted within each pattern, patterns in the order given, each file once.

    Raises:
        MediaError: a pattern matches nothing, or a file's extension is unknown.
    """
    if not patterns:
        raise MediaError("input: expected at least one file, folder or glob pattern, got none")
    found = [path for pattern in patterns for path in _matches(pattern)]
    return list(dict.fromkeys(found))


def is_video(path: str | Path) -> bool:
    """Tell by its extension whether `path` is a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_image(path: str | Path) -> UInt8Array:
    """Read a picture upright (EXIF orientation applied), whatever its mode.

    Sixteen-bit channels keep their upper eight bits, transparency is dropped, and of several pages or
    frames the first is read.

    Args:
        path: a picture in a format that Pillow reads.

    Returns:
        (H, W, 3) uint8, RGB, writable.

    Raises:
        MediaError: the file is missing, no picture, cut off, too large, or has 32 bits per channel.
        MissingDependency: Pillow is not installed.
    """
    with _needs("Pillow"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    try:
        # Pillow warns of large pictures, odd EXIF data and transparency, none of which matters here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_PILLOW_FORMATS) as picture:
                with _quiet_stderr() if picture.format == "TIFF" else contextlib.nullcontext():
                    upright = ImageOps.exif_transpose(picture)
                return np.array(_eight_bit(upright, picture.format).convert("RGB"))
    except UnidentifiedImageError as error:
        raise MediaError(f"{path}: expected a picture, got a file of another or unknown format") from error
    except Image.DecompressionBombError as error:
        raise MediaError(f"{path}: refused, {_first_line(error)}") from error
    # A damaged file can make a decoder raise nearly anything: struct, zlib, SyntaxError, IndexError.
    except Exception as error:
        raise MediaError(f"{path}: cannot read this picture: {_first_line(error)}") from error


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
    _check_frame(frame_hwc)
    with _needs("Pillow"):
        from PIL import Image
    _save(Image.fromarray(np.ascontiguousarray(frame_hwc)), Path(path), IMAGE_SUFFIXES)


def write_labels(path: str | Path, labels_hw: npt.NDArray[Any], palette: UInt8Array) -> None:
    """Write labels as a PNG that viewers show in colours and programs read as class indices.

    Args:
        path: a name that ends in .png; an existing file is replaced.
        labels_hw: (H, W). uint8 makes a palette PNG; uint16 a 16-bit greyscale PNG, without colours
            because a PNG palette has no more than 256.
        palette: (count, 3) uint8, RGB, with a colour for every label.

    Raises:
        FrameError: labels or palette have another shape or dtype, or a label has no colour.
        MediaError: the extension is not .png or the file cannot be written.
        MissingDependency: Pillow is not installed.
    """
    if labels_hw.ndim != 2 or not labels_hw.size or labels_hw.dtype not in (np.uint8, np.uint16):
        raise FrameError(f"labels: expected uint8 or uint16 (H, W), got {labels_hw.dtype} {labels_hw.shape}")
    check_palette(labels_hw, palette)
    with _needs("Pillow"):
        from PIL import Image
    picture = Image.fromarray(np.ascontiguousarray(labels_hw))
    if labels_hw.dtype == np.uint8:
        picture.putpalette(palette[:256].tobytes())
    _save(picture, Path(path), (".png",))


class VideoReader:
    """Iterates the frames of a video file, decoded by OpenCV; a context manager.

    Args:
        path: a video file.

    Attributes:
        rate: frames per second, or None where the file does not say.
        size: (height, width) of the frames in pixels.
        frame_count: number of frames as the file claims it, or None; some formats only estimate it.

    Raises:
        MediaError: the file is missing, no video, or no frame of it can be decoded.
        MissingDependency: OpenCV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise MediaError(f"{path}: expected a video file, found none")
        with _quiet_opencv() as cv2:
            # An absolute path, because FFmpeg reads `name:rest` as a protocol.
            self._capture = cv2.VideoCapture(os.path.abspath(path))
            self._next = self._read(cv2)
            rate = self._capture.get(cv2.CAP_PROP_FPS)
            count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if self._next is None:
            self.close()
            raise MediaError(f"{path}: cannot decode a single frame; expected a whole, readable video file")
        self.rate = rate if math.isfinite(rate) and rate > 0 else None
        self.size: tuple[int, int] = self._next.shape[0], self._next.shape[1]
        self.frame_count = int(count) if math.isfinite(count) and count > 0 else None

    def __iter__(self) -> Iterator[UInt8Array]:
        """Yield the frames not yet read, (H, W, 3) uint8 RGB; ends where no more can be decoded."""
        while (frame_hwc := self._next) is not None:
            with _quiet_opencv() as cv2:
                self._next = self._read(cv2)
            yield frame_hwc

    def close(self) -> None:
        """Close the file; may be called twice. No frame comes after it."""
        self._next = None
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, cv2: ModuleType) -> UInt8Array | None:
        ok, frame_bgr_hwc = self._capture.read()
        if not ok:
            return None
        frame_hwc: UInt8Array = cv2.cvtColor(frame_bgr_hwc, cv2.COLOR_BGR2RGB)
        return frame_hwc


class VideoWriter:
    """Writes frames to an .mp4 file (MPEG-4 part 2, by OpenCV); a context manager.

    `close()` puts the file in its place. Leaving the block does so too, by an exception or Ctrl-C as well:
    what was written until then is a playable file. No file is made where no frame was written.

    Args:
        path: a name that ends in .mp4; an existing file is replaced.
        rate: frames per second.
        size: (height, width) of the frames in pixels. The format stores even sizes only: an odd one
            grows by a copy of its last row or column.

    Raises:
        MediaError: the extension, rate or size is not as above, or the file cannot be written.
        MissingDependency: OpenCV is not installed.
    """

    def __init__(self, path: str | Path, rate: float, size: tuple[int, int]) -> None:
        self._path, self._size, self._frames = Path(path), (size[0], size[1]), 0
        _check_suffix(self._path, (".mp4",))
        if not (math.isfinite(rate) and rate > 0 and min(size) > 0):
            raise MediaError(f"{path}: expected rate and size above 0, got rate {rate}, size {size}")
        self._part = _part_name(self._path)
        height, width = (side + side % 2 for side in size)
        with _quiet_opencv() as cv2:
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(os.path.abspath(self._part), codec, rate, (width, height))
        self._closed = False
        if not self._writer.isOpened():
            self.close()
            raise MediaError(f"{path}: cannot write a video of size {size} here; check folder and free space")

    def write(self, frame_hwc: UInt8Array) -> None:
        """Append a frame, (H, W, 3) uint8 RGB of the writer's size; raises FrameError for another."""
        _check_frame(frame_hwc)
        if frame_hwc.shape[:2] != self._size:
            raise FrameError(f"frame: expected (height, width) {self._size}, got {frame_hwc.shape[:2]}")
        if self._closed:
            raise MediaError(f"{self._path}: cannot write a frame, the video is closed")
        with _quiet_opencv() as cv2:
            self._writer.write(cv2.cvtColor(_even(frame_hwc), cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Finish the file and put it in its place; may be called twice.

        Raises:
            MediaError: the file cannot be finished, as on a full disk; nothing is left of it.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.release()
            if self._frames:
                # OpenCV does not say that a write failed, so the result is opened again.
                VideoReader(self._part).close()
                _put_in_place(self._part, self._path)
        except OSError as error:
            reason = error.strerror or "it cannot be read back"
            raise MediaError(f"{self._path}: cannot finish this video: {reason}; check free space") from error
        finally:
            _discard(self._part)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _matches(pattern: str | Path) -> list[Path]:
    path = Path(pattern)
    # A file is looked for before a pattern: names with brackets are common.
    if path.is_file():
        _check_suffix(path, _KNOWN_SUFFIXES)
        return [path]
    candidates = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(pattern), recursive=True))
    found = sorted(each for each in candidates if _is_input(each))
    if not found:
        raise MediaError(f"{pattern}: no picture or video there; known are {' '.join(_KNOWN_SUFFIXES)}")
    return found


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in _KNOWN_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise MediaError(f"{path}: expected a name that ends in {' '.join(suffixes)}")


def _check_frame(frame_hwc: UInt8Array) -> None:
    if frame_hwc.ndim != 3 or frame_hwc.shape[2] != 3 or not frame_hwc.size or frame_hwc.dtype != np.uint8:
        raise FrameError(f"frame: expected uint8 (H, W, 3), got {frame_hwc.dtype} {frame_hwc.shape}")


def _eight_bit(picture: Image.Image, file_format: str | None) -> Image.Image:
    """Reduce 16-bit greyscale, which Pillow would clip; 16-bit colour arrives reduced already."""
    from PIL import Image

    # Pillow opens 16-bit PGM, and old versions 16-bit PNG, in its 32-bit mode.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and file_format in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("expected 8 or 16 bits per channel, got 32")
    return picture


def _save(picture: Image.Image, path: Path, suffixes: tuple[str, ...]) -> None:
    _check_suffix(path, suffixes)
    part = _part_name(path)
    options: dict[str, Any] = {"quality": _LOSSY_QUALITY} if path.suffix.lower() in _LOSSY_SUFFIXES else {}
    try:
        picture.save(part, **options)
        _put_in_place(part, path)
    except OSError as error:
        raise MediaError(f"{path}: cannot write: {error.strerror or _first_line(error)}") from error
    finally:
        _discard(part)


def _part_name(path: Path) -> Path:
    """Name a hidden file in the same folder, and so on the same disk, with the same extension."""
    return path.with_name(f".fcnrt-{secrets.token_hex(4)}{path.suffix}")


def _put_in_place(part: Path, path: Path) -> None:
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def _discard(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink()


def _even(frame_hwc: UInt8Array) -> UInt8Array:
    height, width, _ = frame_hwc.shape
    return np.pad(frame_hwc, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _needs(package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        message = f"{package} is needed for this: pip install fcnrt[video] ({_first_line(error)})"
        raise MissingDependency(message) from error


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Turn the process's own stderr off: libtiff complains there, and Pillow has no switch for it."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[ModuleType]:
    """Import OpenCV and keep it, and the FFmpeg inside, from writing to the terminal."""
    # FFmpeg's level is read once, at the first use of it; OpenCV's own is put back afterwards.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _needs("OpenCV"):
        import cv2
    # OpenCV 5 moved the two functions.
    logging: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = logging.setLogLevel(0)
    try:
        yield cv2
    finally:
        logging.setLogLevel(level)
