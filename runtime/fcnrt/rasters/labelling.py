"""A raster to a file of labels, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..contract.types import LabelArray, label_dtype, void_label
from ..contract.windows import Window
from ..errors import FrameError, UsageError
from ..pictures.palette import with_void
from ..pictures.reading import Levels
from ..segmenter import Segmenter
from .reading import Raster
from .writing import label_file


def label_raster(
    segmenter: Segmenter,
    source: str | Path | Raster,
    target: str | Path,
    *,
    bands: Sequence[int] | None = None,
    levels: Levels | None = None,
    colours: bool = True,
) -> None:
    """Label a TIFF or JPEG 2000 file of any size, read by windows.

    The labels lie on Earth where the picture does. Pixels without data get the label 255 (65535 of more than 256
    classes), which the file declares to be that.

    Args:
        segmenter: that takes RGB; its `tile` says how much of the picture it sees at once.
        source: the file, or an open one.
        target: where to, a name that ends in .tif; an existing file is replaced when all is done.
        bands, levels: as a Raster has them.
        colours: whether the file has the colours of the classes.

    Raises:
        MediaError: a file cannot be read or written, or it has to be said what its bands or values mean.
        MissingDependency: rasterio is not installed.
        FrameError: the network takes no such picture, or has no label left for pixels without data.
        UsageError: the Segmenter takes BGR, is in use or closed.
        BackendError: the engine failed.
    """
    if segmenter.color != "rgb":
        raise UsageError("segmenter: expected one that takes RGB, got BGR; open it with color='rgb'")
    if not isinstance(source, Raster):
        with Raster(source, bands=bands, levels=levels) as raster:
            return label_raster(segmenter, raster, target, colours=colours)
    void = _void_of(segmenter, source)
    palette = segmenter.palette if void is None else with_void(segmenter.palette)
    dtype = label_dtype(len(segmenter.classes)).__name__
    with label_file(Path(target), source, dtype, segmenter.classes, palette if colours else None, void) as write:
        for window in segmenter.windows(source):
            write(window if void is None else window._replace(labels=_without_gaps(window, source, void)))


def _void_of(segmenter: Segmenter, raster: Raster) -> int | None:
    """The label of pixels without data, where there may be some."""
    if not raster.has_gaps:
        return None
    count = len(segmenter.classes)
    void = void_label(label_dtype(count))
    if count > void:
        raise FrameError(f"{raster.path}: has pixels without data, and no label is left for them by {count} classes")
    return void


def _without_gaps(window: Window, raster: Raster, void: int) -> LabelArray:
    labels: LabelArray = np.where(raster.gaps(window[:2]), window.labels.dtype.type(void), window.labels)
    return labels
