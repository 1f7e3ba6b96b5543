"""What is told of frames that are computed in tiles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..backends.tiling.grid import Grid
from ..errors import needs
from ..segmenter import Segmenter
from .terminal import complain


def tell_of_tiles(segmenter: Segmenter, size: tuple[int, int], name: str) -> Grid | None:
    """Print a line where frames of a size are computed in tiles."""
    grid = segmenter.backend.grid((1, *size))
    if grid is not None:
        height, width = size
        complain(f"{name}: {height}x{width} in {grid}")
    return grid


@contextlib.contextmanager
def tiles_shown(segmenter: Segmenter, size: tuple[int, int], name: str) -> Iterator[None]:
    """Print that line, and on a terminal a progress bar of the tiles that are computed meanwhile."""
    grid = tell_of_tiles(segmenter, size, name)
    if grid is None:
        yield
        return
    with needs("tqdm"):
        from tqdm import tqdm
    with tqdm(unit="tile", total=len(grid), disable=None, leave=False) as bar:

        def count(stage: str) -> None:
            bar.update(stage == "tile")

        segmenter.backend.observer = count
        try:
            yield
        finally:
            segmenter.backend.observer = None
