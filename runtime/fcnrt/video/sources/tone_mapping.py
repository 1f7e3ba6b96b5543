"""HDR video (PQ and HLG) as the SDR that networks were trained on and that overlays are written in.

A table of colours is computed here and applied by FFmpeg. Transfer functions and the display of HLG are those of ITU-R
BT.2100-2, colours those of BT.2087-0. Reference white, 203 cd/m2, becomes SDR's white, as BT.2408-7 relates the two.
The result is encoded as the photographs are that networks learn from: by IEC 61966-2-1 (sRGB). Shades up to `_KNEE` of
that white stay as they are, so that what was SDR before it was made HDR comes back; brighter ones approach white.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from ...contract.types import FloatArray
from .filters import FilterGraph

# FFmpeg's AVColorTransferCharacteristic and AVColorSpace.
TRANSFERS = {16: "PQ", 18: "HLG"}
BT2020 = 9

_WHITE_NITS, _HLG_NITS, _HLG_GAMMA = 203.0, 1000.0, 1.2
_KNEE = 0.7
_NODES = 33  # along a side of the table; between them FFmpeg interpolates
_LUMINANCE = np.array((0.2627, 0.6780, 0.0593))  # of BT.2020's primaries
_TO_BT709 = np.array(((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)))


def hdr_of(frame: Any) -> str | None:
    """Which kind of HDR a frame is, or None."""
    return TRANSFERS.get(int(frame.color_trc))


class ToneMapper:
    """Turns HDR frames, one after the other, into SDR ones; their size and format may change on the way."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter: Any = VideoReformatter()
        self._graphs: dict[int, FilterGraph] = {}

    def __call__(self, frame: Any) -> Any:
        """A `VideoFrame` in planar RGB of ten bits, for a frame that is HDR."""
        matrix = BT2020 if frame.colorspace == 2 else int(frame.colorspace)  # 2: it does not say
        rgb = self._reformatter.reformat(frame, format="gbrp10le", src_colorspace=matrix, threads=1)
        rgb.pts, rgb.time_base = 0, frame.time_base
        transfer = int(frame.color_trc)
        if transfer not in self._graphs:
            self._graphs[transfer] = _Table(TRANSFERS[transfer])
        (mapped,) = self._graphs[transfer](rgb)
        return mapped


def sdr(coded: FloatArray, transfer: str) -> FloatArray:
    """SDR's code values for HDR's, both (..., 3) RGB in 0 to 1; the transfer is "PQ" or "HLG"."""
    light = _DISPLAYED[transfer](coded) / _WHITE_NITS
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-9)
    return _srgb(np.clip(light * (_rolled_off(brightest) / brightest) @ _TO_BT709.T, 0, 1))


def _rolled_off(light: FloatArray) -> FloatArray:
    """Light relative to white: below the knee as it is, above it ever closer to 1, without a kink."""
    span = 1 - _KNEE
    above = 1 - span * np.exp(-(light - _KNEE) / span)
    rolled: FloatArray = np.where(light > _KNEE, above, light)
    return rolled


def _srgb(light: FloatArray) -> FloatArray:
    coded: FloatArray = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return coded


def _displayed_pq(coded: FloatArray) -> FloatArray:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = coded ** (1 / m2)
    nits: FloatArray = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return nits


def _displayed_hlg(coded: FloatArray) -> FloatArray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
    luminance = np.maximum(scene @ _LUMINANCE, 1e-9)[..., None]
    nits: FloatArray = _HLG_NITS * luminance ** (_HLG_GAMMA - 1) * scene
    return nits


_DISPLAYED: dict[str, Callable[[FloatArray], FloatArray]] = {"PQ": _displayed_pq, "HLG": _displayed_hlg}


class _Table(FilterGraph):
    """FFmpeg's filter with our table, which it reads from a file when it is built."""

    def __init__(self, transfer: str) -> None:
        super().__init__([])
        self._transfer = transfer

    def _built(self, frame: Any) -> Any:
        descriptor, name = tempfile.mkstemp(suffix=".cube")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(_cube(self._transfer))
            self._filters = [("lut3d", {"file": name, "interp": "tetrahedral"})]
            return super()._built(frame)
        finally:
            os.unlink(name)


def _cube(transfer: str) -> str:
    """The table as a .cube file: red runs fastest."""
    steps = np.linspace(0, 1, _NODES)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    table = sdr(np.stack((red, green, blue), axis=-1), transfer).reshape(-1, 3)
    return f"LUT_3D_SIZE {_NODES}\n" + "".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in table)
