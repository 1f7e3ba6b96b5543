"""What PyAV's frames become: upright RGB in the host's memory, or NV12 planes where they lie on the GPU."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from ...contract.types import UInt8Array
from ...errors import MediaError
from ...gpu.arrays import Nv12Frame
from .tone_mapping import ToneMapper, hdr_of

# FFmpeg's AVColorSpace and AVColorRange.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 5
_LIKE_BT601 = (4, 5, 6)  # FCC's, PAL's and NTSC's
_FULL_RANGE = 2

# Signs of (x to x, x to y, y to x, y to y): the corners of FFmpeg's display matrix, for multiples of 90 degrees.
Orientation = tuple[int, int, int, int]
AS_IT_IS: Orientation = (1, 0, 0, 1)

_LEGACY_STREAM = 1  # as the CUDA Array Interface calls the default stream, on which FFmpeg copies


class RgbPixels:
    """Turns decoded frames into upright RGB, one after the other; their size and format may change on the way."""

    color: Literal["rgb", "nv12"] = "rgb"

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter: Any = VideoReformatter()
        self._upright, self._mapper = Upright(), ToneMapper()

    def __call__(self, frame: Any) -> UInt8Array:
        """(H, W, 3) of a frame; HDR is made SDR.

        Colours follow the stream's matrix and range. FFmpeg's fast conversion is up to 3 levels darker than an exact
        one; a chroma sample serves its four pixels, as in our kernel for NV12.
        """
        # One thread: FFmpeg's slices cost more than this conversion, a tenth of decoding.
        if hdr_of(frame):
            rgb = self._reformatter.reformat(self._mapper(frame), format="rgb24", threads=1)
        else:
            rgb = self._reformatter.reformat(frame, format="rgb24", src_colorspace=matrix_of(frame), threads=1)
        return upright(rgb.to_ndarray(), self._upright.orientation(frame))

    def size(self, pixels: UInt8Array) -> tuple[int, int]:
        """(height, width)."""
        return pixels.shape[:2]


class DevicePixels:
    """Passes on frames that a GPU decoded, without a copy."""

    color: Literal["rgb", "nv12"] = "nv12"

    def __init__(self, name: str) -> None:
        self._name, self._upright = name, Upright()

    def __call__(self, frame: Any) -> Nv12Frame:
        """The planes of a frame; raises MediaError where they are not upright NV12 in device memory."""
        layout = frame.sw_format.name if frame.format.name == "cuda" else f"{frame.format.name} in the host's memory"
        if layout != "nv12" or self._upright.orientation(frame) != AS_IT_IS:
            got = "a rotated picture" if layout == "nv12" else layout
            raise MediaError(
                f"{self._name}: expected upright NV12 from the GPU's decoder, got {got}; decode on the CPU"
            )
        height, width = frame.height, frame.width
        luma = DevicePlane(frame.planes[0], (height, width), (1,))
        chroma = DevicePlane(frame.planes[1], ((height + 1) // 2, (width + 1) // 2, 2), (2, 1))
        matrix: Literal["bt601", "bt709"] = "bt601" if matrix_of(frame) in _LIKE_BT601 else "bt709"
        return Nv12Frame(luma, chroma, matrix, full_range=frame.color_range == _FULL_RANGE)

    def size(self, pixels: Nv12Frame) -> tuple[int, int]:
        """(height, width)."""
        height, width = pixels.luma.shape
        return height, width


def pixel_aspect_of(stream: Any, frame: Any) -> Fraction:
    """How wide the pixels of a stream are for their height, when they are upright."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    turned = Upright().orientation(frame)[1] != 0
    return Fraction(1) if aspect <= 0 else 1 / aspect if turned else aspect


class DevicePlane:
    """A plane of a PyAV frame on the GPU, by the CUDA Array Interface; keeps the frame alive.

    PyAV's own DLPack export cannot say which stream writes the plane, and cuts off the last chroma row of odd heights.
    """

    def __init__(self, plane: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.shape, self._plane, self._strides = shape, plane, (plane.line_size, *strides)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": "|u1",
            "data": (self._plane.buffer_ptr, False),
            "strides": self._strides,
            "stream": _LEGACY_STREAM,
            "version": 3,
        }


def matrix_of(frame: Any) -> int:
    """The colour matrix of a frame; where the stream does not say, the one that its size had on television."""
    if frame.colorspace != _UNSPECIFIED:
        return int(frame.colorspace)
    return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601


def upright(pixels: UInt8Array, orientation: Orientation) -> UInt8Array:
    """Mirror and transpose a picture (H, W, 3) as a player would; the result is contiguous."""
    if orientation == AS_IT_IS:
        return np.ascontiguousarray(pixels)
    x_to_x, x_to_y, y_to_x, y_to_y = orientation
    whole: Any = np.ascontiguousarray(pixels).view("V3")[..., 0]  # moved as pixels, twice as fast as bytes
    turned = whole.T if x_to_y else whole
    turned = np.ascontiguousarray(turned[:: x_to_y or y_to_y, :: y_to_x or x_to_x])
    return turned.view(np.uint8).reshape(*turned.shape, 3)


class Upright:
    """Finds out how frames are to be turned, looking closer only where they change.

    Not at each one: PyAV's side data keeps its frame alive until the garbage collector comes round.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, int, int] | None = None
        self._orientation = AS_IT_IS

    def orientation(self, frame: Any) -> Orientation:
        """Of a decoded frame."""
        seen = frame.rotation, frame.height, frame.width
        if seen != self._seen:
            self._seen, self._orientation = seen, _orientation(frame)
        return self._orientation


def _orientation(frame: Any) -> Orientation:
    try:
        side_data = frame.side_data["DISPLAYMATRIX"]
    except (KeyError, ValueError):  # none; or PyAV does not know the name of another kind
        angle = -math.radians(frame.rotation)
        matrix = math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    else:
        matrix = tuple(np.frombuffer(side_data, np.int32)[[0, 1, 3, 4]].tolist())
    x_to_x, x_to_y, y_to_x, y_to_y = (-1 if factor < 0 else 1 for factor in matrix)
    return (0, x_to_y, y_to_x, 0) if abs(matrix[1]) > abs(matrix[0]) else (x_to_x, 0, 0, y_to_y)
