"""GDAL by rasterio: how it is loaded, how much memory it may take, and its errors as one of ours."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import FcnrtError, MediaError, first_line, needs

CACHE_MIB = 256  # of blocks that were read, or are to be written


@contextlib.contextmanager
def gdal(path: str | Path) -> Iterator[Any]:
    """rasterio, for work on a file; whatever GDAL raises in the block becomes a MediaError about it.

    Raises:
        MissingDependency: rasterio is not installed.
    """
    with needs("rasterio", "fcnrt[geo]"):
        import rasterio
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_MIB):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            yield rasterio
    except FcnrtError:
        raise
    except (rasterio.errors.RasterioError, rasterio._err.CPLE_BaseError, OSError) as error:
        raise MediaError(f"{path}: {first_line(error.__cause__ or error)}") from error
