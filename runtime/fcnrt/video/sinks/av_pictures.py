"""RGB frames as pictures for an encoder of PyAV's, in one size whatever theirs is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...contract.types import UInt8Array


class Pictures:
    """Makes pictures of one size; frames of another are scaled to fit and centred on black.

    Args:
        av: the module of PyAV.
        size: (height, width) in pixels.
        exact: make "bgr0", in which every colour comes back exactly, and let scaling invent none; else "yuv420p".

    Attributes:
        size: (height, width) of the pictures. 4:2:0 has even sizes only: an odd one grows by a copy of its last row
            or column.
    """

    def __init__(self, av: Any, size: tuple[int, int], exact: bool) -> None:
        from av.video.reformatter import VideoReformatter

        self._wrap = av.VideoFrame.from_numpy_buffer
        self._exact = exact
        self._frame_size = size
        self.size = size if exact else (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._canvas: UInt8Array = np.zeros((*self.size, 3), dtype=np.uint8)
        self._scaler: Any = VideoReformatter()
        self._converter: Any = VideoReformatter()
        self._conversion = {"format": "bgr0"}
        if not exact:
            # "AREA" takes the mean of four pixels for a chroma sample, correctly rounded.
            self._conversion = {"format": "yuv420p", "dst_colorspace": "ITU709", "dst_color_range": "MPEG"}
            self._conversion["interpolation"] = "AREA"

    def __call__(self, frame_hwc: UInt8Array) -> Any:
        """Make a `VideoFrame` that shares no memory with the frame, (H, W, 3) uint8 RGB."""
        if frame_hwc.shape[:2] != self._frame_size:
            frame_hwc = self._letterboxed(frame_hwc)
        if self.size != self._frame_size:
            frame_hwc = self._grown(frame_hwc)
        return self._converter.reformat(self._wrap(np.ascontiguousarray(frame_hwc)), **self._conversion)

    def _letterboxed(self, frame_hwc: UInt8Array) -> UInt8Array:
        height, width = self._frame_size
        scale = min(height / frame_hwc.shape[0], width / frame_hwc.shape[1])
        fitted = self._scaled(frame_hwc, [max(1, round(side * scale)) for side in frame_hwc.shape[:2]])
        top, left = (height - fitted.shape[0]) // 2, (width - fitted.shape[1]) // 2
        boxed = np.zeros((height, width, 3), dtype=np.uint8)
        boxed[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
        return boxed

    def _scaled(self, frame_hwc: UInt8Array, size: list[int]) -> UInt8Array:
        if self._exact:
            rows, columns = (np.arange(new) * old // new for new, old in zip(size, frame_hwc.shape, strict=False))
            nearest: UInt8Array = frame_hwc[rows[:, None], columns]
            return nearest
        picture = self._wrap(np.ascontiguousarray(frame_hwc))
        scaled: UInt8Array = self._scaler.reformat(picture, width=size[1], height=size[0], format="rgb24").to_ndarray()
        return scaled

    def _grown(self, frame_hwc: UInt8Array) -> UInt8Array:
        height, width = self._frame_size
        self._canvas[:height, :width] = frame_hwc
        self._canvas[height:, :width] = frame_hwc[-1:]
        self._canvas[:, width:] = self._canvas[:, width - 1 : width]
        return self._canvas
