"""TIFF and JPEG 2000 files of any size, read by windows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.closing import Closing
from ..contract.types import Array, UInt8Array
from ..errors import MediaError
from ..pictures.reading import Levels, mapped
from .bands import chosen_bands
from .gdal import gdal

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf")
# GDAL's drivers, by a file's first bytes. Named, because others would follow what a file names: addresses, databases.
DRIVERS = {
    "GTiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JP2OpenJPEG": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
}
MAX_SIDE = 1 << 20  # pixels; beyond it lie no pictures, but headers that were made to take the machine's time
SAMPLE = 1024  # side of the part in the middle by which levels are proposed
CENTRAL = 2, 98  # percent of its values that are between them


class Raster(Closing):
    """A picture in a TIFF or JPEG 2000 file; `raster[rows, columns]` reads a part of it.

    Grey bands and colour maps become RGB. Pixels that the file has masked, or says to be without data, are as they are.

    Args:
        path: the file.
        bands: the numbers, from 1, of those that are red, green and blue, or of a grey one (default: as the file says,
            or all three if it has no more).
        levels: the values that become black and white, of bands with other values than 0 to 255.

    Attributes:
        shape: (H, W, 3).
        dataset: rasterio's own.
        notes: what there is to say of the bands that were taken.
        has_gaps: whether some pixels may have no data.

    Raises:
        MediaError: it is missing, damaged or another file, or has bands or values of which has to be said what they
            mean.
        MissingDependency: rasterio is not installed.
    """

    def __init__(self, path: str | Path, *, bands: Sequence[int] | None = None, levels: Levels | None = None) -> None:
        self.path, self.notes = Path(path), list[str]()
        self._levels = levels
        with contextlib.ExitStack() as opened:
            self.dataset: Any = self._open()
            opened.callback(self.dataset.close)
            self._check_size()
            self.bands, note = chosen_bands(self.dataset, self.path, bands)
            self.notes.extend([note] if note else [])
            self.shape = (self.dataset.height, self.dataset.width, 3)
            self._colours = self._colour_map()
            self._check_values()
            opened.pop_all()

    @property
    def has_gaps(self) -> bool:
        return any("all_valid" not in {flag.name for flag in flags} for flags in self.dataset.mask_flag_enums)

    def __getitem__(self, part: tuple[slice, slice]) -> UInt8Array:
        values = self._read(part)
        if self._colours is not None:
            coloured: UInt8Array = self._colours[values[0]]
            return coloured
        if self._has_other_values:
            assert self._levels
            values = mapped(values, self._levels)
        pixels = np.moveaxis(values, 0, -1)  # (h, w, bands)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))

    def gaps(self, part: tuple[slice, slice]) -> Array:
        """Which pixels of a part have no data, bool (h, w)."""
        with gdal(self.path):
            without: Array = self.dataset.dataset_mask(window=part) == 0
        return without

    def close(self) -> None:
        """Let the file go; a second call does nothing."""
        self.dataset.close()

    def _open(self) -> Any:
        with gdal(self.path) as rasterio:
            return rasterio.open(self.path.absolute(), driver=_driver(self.path))

    def _read(self, part: tuple[slice, slice]) -> Array:
        """(bands, h, w), in the file's own type."""
        with gdal(self.path):
            values: Array = self.dataset.read(self.bands, window=part)
        return values

    def _colour_map(self) -> UInt8Array | None:
        """(256, 3), of a file that has one."""
        if len(self.bands) > 1 or self.dataset.colorinterp[self.bands[0] - 1].name != "palette":
            return None
        colours = np.zeros((256, 3), np.uint8)
        for value, (red, green, blue, _) in self.dataset.colormap(self.bands[0]).items():
            if value < len(colours):
                colours[value] = red, green, blue
        return colours

    @property
    def _has_other_values(self) -> bool:
        """Whether they are not the 0 to 255 of a picture."""
        return self._bits != 8 or any(self.dataset.dtypes[band - 1] != "uint8" for band in self.bands)

    @property
    def _bits(self) -> int:
        said = self.dataset.tags(self.bands[0], ns="IMAGE_STRUCTURE").get("NBITS")
        return int(said) if said else 8 * np.dtype(self.dataset.dtypes[self.bands[0] - 1]).itemsize

    def _check_size(self) -> None:
        height, width = self.dataset.shape
        if max(height, width) > MAX_SIDE:
            raise MediaError(
                f"{self.path}: refused, it claims {height}x{width} pixels, more than {MAX_SIDE} along an axis"
            )

    def _check_values(self) -> None:
        if self._colours is not None:
            if self.dataset.dtypes[self.bands[0] - 1] != "uint8":
                raise MediaError(f"{self.path}: expected a colour map of 8 bits, got one of {self._bits}")
            return
        if self._has_other_values and self._levels is None:
            low, high = self._central_values()
            raise MediaError(
                f"{self.path}: expected values from 0 to 255, got {self._bits} bits ({self.dataset.dtypes[0]}); say by "
                f"--levels LOW-HIGH which become black and white (levels= in Python); in the middle of the picture "
                f"most are {low:g} to {high:g}"
            )

    def _central_values(self) -> tuple[float, float]:
        """Between which most values lie in the middle of the picture, where it has data."""
        rows, columns = (
            slice((side - min(side, SAMPLE)) // 2, (side + min(side, SAMPLE)) // 2) for side in self.shape[:2]
        )
        values = self._read((rows, columns))[:, ~self.gaps((rows, columns))]
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, CENTRAL) if values.size else (0, 1)
        return float(low), float(high)


def _driver(path: Path) -> str:
    """GDAL's name of a file's format."""
    try:
        with path.open("rb") as file:
            beginning = file.read(12)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error
    for driver, beginnings in DRIVERS.items():
        if beginning.startswith(beginnings):
            return driver
    raise MediaError(f"{path}: expected TIFF or JPEG 2000, got another format; name a .png for its labels")
