"""Labels as TIFF, written by windows, with the place on Earth of the picture that they are of."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..contract.files import discard, discard_left_behind, part_name, put_in_place
from ..contract.types import UInt8Array
from ..contract.windows import Window
from ..errors import MediaError
from ..pictures.inputs import check_suffix
from .gdal import gdal
from .reading import Raster

LABEL_SUFFIXES = (".tif", ".tiff")
BLOCK = 512  # side of the squares that are compressed
CLASSES, POINT = "FCN_CLASSES", "AREA_OR_POINT"  # metadata items of GDAL


@contextlib.contextmanager
def label_file(
    path: Path, raster: Raster, dtype: str, classes: Sequence[str], palette: UInt8Array | None, void: int | None
) -> Iterator[Callable[[Window], None]]:
    """Write a file of labels: it is whole when the block has ended without error, and else there is none.

    Args:
        path: a name that ends in .tif; an existing file is replaced.
        raster: the picture, which gives size, coordinate system, transform, control points.
        dtype: of the labels, "uint8" or "uint16".
        classes: their names, kept as JSON in the metadata item FCN_CLASSES.
        palette: (count, 3) uint8, RGB; None for none.
        void: the label of pixels without data, which the file declares; None where there are none.

    Yields:
        a function that writes a window.

    Raises:
        MediaError: it cannot be written.
        MissingDependency: rasterio is not installed.
    """
    check_suffix(path, LABEL_SUFFIXES)
    if not path.parent.is_dir():
        raise MediaError(f"{path}: cannot write: no such folder")
    discard_left_behind(path.parent, path.suffix)
    part = part_name(path)
    try:
        with gdal(path) as rasterio:
            dataset = rasterio.open(part.absolute(), "w", **_profile(raster, dtype, void))
            with dataset:
                _describe(dataset, raster, classes, palette)
                yield lambda window: dataset.write(window.labels, 1, window=window[:2])
            _check_written(rasterio, part)
            put_in_place(part, path)
    finally:
        discard(part)
        discard(part.with_name(f"{part.name}.aux.xml"))


def _profile(raster: Raster, dtype: str, void: int | None) -> dict[str, Any]:
    """What a file is made with."""
    dataset = raster.dataset
    points, points_crs = dataset.gcps
    place = {"gcps": points, "crs": points_crs} if points else {"crs": dataset.crs, "transform": dataset.transform}
    return {
        **place,
        "rpcs": dataset.rpcs,
        "driver": "GTiff",
        "height": dataset.height,
        "width": dataset.width,
        "count": 1,
        "dtype": dtype,
        "nodata": void,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }


def _describe(dataset: Any, raster: Raster, classes: Sequence[str], palette: UInt8Array | None) -> None:
    dataset.update_tags(**{CLASSES: json.dumps(list(classes), ensure_ascii=False)})
    if POINT in raster.dataset.tags():
        dataset.update_tags(**{POINT: raster.dataset.tags()[POINT]})
    dataset.set_band_description(1, "labels")
    if palette is not None:
        dataset.write_colormap(1, {index: tuple(map(int, colour)) for index, colour in enumerate(palette)})


def _check_written(rasterio: Any, part: Path) -> None:
    """Read the last block: GDAL may have closed a file without a word when the disk was full."""
    with rasterio.open(part.absolute(), driver="GTiff") as written:
        rows, columns = (slice(side - 1, side) for side in written.shape)
        written.read(1, window=(rows, columns))
