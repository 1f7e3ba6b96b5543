"""Overlays and labels as picture files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...contract.types import Array, UInt8Array
from ...errors import MediaError, first_line
from ...pictures.drawing import Drawing
from ...pictures.writing import write_image, write_labels
from ..frames import Labelled, Sink
from .host import host_labels, host_pixels


class OnePicture(Sink):
    """Writes what it draws of a single frame to a picture file; raises MediaError at a second frame.

    Args:
        path: where to.
    """

    in_main_thread = False

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self._path, self._written = Path(path), False

    def write(self, drawn: Any) -> None:
        if self._written:
            raise MediaError(f"{self.name}: expected one frame, got more; name a folder or a video")
        self._save(drawn)
        self._written = True

    def close(self) -> None:
        """Nothing is left to do: the picture is whole as soon as it has its name."""

    def _save(self, drawn: Any) -> None:
        raise NotImplementedError


class OverlayPicture(OnePicture):
    """Writes one frame with its labels drawn over it.

    Args:
        path: a name that ends as pictures do, .png say.
        drawing: how to draw the labels.
    """

    def __init__(self, path: str | Path, drawing: Drawing) -> None:
        super().__init__(path)
        self._drawing = drawing

    def draw(self, labelled: Labelled) -> UInt8Array:
        return self._drawing(host_pixels(labelled), host_labels(labelled))

    def _save(self, drawn: UInt8Array) -> None:
        write_image(self._path, drawn)


class LabelPicture(OnePicture):
    """Writes the labels of one frame as a PNG.

    Args:
        path: a name that ends in .png.
        palette: (count, 3) uint8, RGB, a colour for every label; None for plain grey.
    """

    def __init__(self, path: str | Path, palette: UInt8Array | None) -> None:
        super().__init__(path)
        self._palette = palette

    def draw(self, labelled: Labelled) -> Array:
        return host_labels(labelled)

    def _save(self, drawn: Array) -> None:
        write_labels(self._path, drawn, self._palette)


class LabelPictures(Sink):
    """Writes the labels to a folder of PNGs, 000000.png and so on, which viewers show in colours.

    The first frame makes the folder, or removes numbered PNGs that are there from an earlier run.

    Args:
        folder: where to.
        palette: (count, 3) uint8, RGB, a colour for every label; None for plain grey.
    """

    in_main_thread = False

    def __init__(self, folder: str | Path, palette: UInt8Array | None) -> None:
        self.name = str(folder)
        self._folder, self._palette, self._count = Path(folder), palette, 0

    def draw(self, labelled: Labelled) -> Array:
        return host_labels(labelled)

    def write(self, drawn: Array) -> None:
        if not self._count:
            self._clear_folder()
        write_labels(self._folder / f"{self._count:06d}.png", drawn, self._palette)
        self._count += 1

    def close(self) -> None:
        """Nothing is left to do: each picture is whole as soon as it has its name."""

    def _clear_folder(self) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
            for stale in self._folder.glob("[0-9]*.png"):
                if stale.stem.isdecimal() and len(stale.stem) >= 6:
                    stale.unlink()
        except OSError as error:
            raise MediaError(f"{self._folder}: cannot write there: {error.strerror or first_line(error)}") from error
