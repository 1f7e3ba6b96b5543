"""Long films, labelled in pieces by any worker, and put together where the run was started."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import FcnrtError, one_line
from ..video.sinks import Content
from ..video.sinks.joined import Part, UnfitParts, join_films
from ..video.sources.pieces import Piece, divide
from .places import Place, discard, told_of
from .stores import is_stored
from .work import Item, Items, Row

FOLDER = ".pieces"  # of the output's folder: what is made of pieces, until the film is put together


class Divided(NamedTuple):
    """A film, its pieces, and the folder of what is made of them."""

    item: Item
    pieces: list[Piece]
    folder: Path

    @property
    def items(self) -> list[Item]:
        """What workers are to do."""
        return [_item(self.item, piece, self.folder / f"{number:05d}") for number, piece in enumerate(self.pieces)]


class Divider:
    """Finds the pieces of films, in a worker; `divide` says which films have none.

    Args:
        seconds: of a piece, at least.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds

    def do(self, item: Item) -> tuple[Item, list[Piece]]:
        """A film with its pieces; none where it cannot be read, as who labels it will say."""
        try:
            return item, divide(item.source, self._seconds)
        except (FcnrtError, OSError):
            return item, []


def is_divisible(item: Item) -> bool:
    """Whether an item is a film that others can read a piece of without a copy, and whose parts can be put together."""
    return item.is_film and not any(is_stored(name) for name in (item.source, *(where for where, _ in item.outputs)))


class Films:
    """The films of a run that are labelled in pieces.

    Args:
        folder: of the run's outputs.
        made_with: what outputs depend on beside their input; pieces that were made with something else are not taken.

    Attributes:
        unit: what workers are given: an "input", or a "piece" where there are some.
        whole: those that must be labelled undivided, as a piece of them failed, with the reason.
    """

    def __init__(self, folder: Path, made_with: str):
        self._folder, self._made_with = folder / FOLDER, made_with
        self._films: dict[str, Divided] = {}
        self._rows: dict[str, list[Row]] = {}
        self.whole: list[tuple[Item, str]] = []
        self.unit = "input"

    def add(self, item: Item, pieces: Sequence[Piece]) -> None:
        """Take a film with its pieces; one without stays as it is."""
        if not pieces:
            return
        self.unit = "piece"
        content = json.dumps([self._made_with, os.path.abspath(item.source), _state(item.source), pieces])
        folder = self._folder / hashlib.sha256(content.encode()).hexdigest()[:24]
        self._films[item.source] = film = Divided(item, list(pieces), folder)
        self._rows[item.source] = [row for row in map(_row_of, film.items) if row]

    def in_pieces(self, items: Items | Sequence[Item]) -> Items:
        """Items, with those of its pieces that are not made yet in the place of a film."""
        more = sum(len(film.pieces) - len(self._rows[source]) - 1 for source, film in self._films.items())
        return Items(len(items) + more, lambda: (each for item in items for each in self._divided(item)))

    def complete(self) -> Iterator[Row]:
        """The rows of films of which earlier runs have made all pieces."""
        for source in list(self._films):
            yield from self._joined(source)

    def take(self, row: Row) -> Iterator[Row]:
        """Take a worker's row: what is no piece's comes back; the last piece's of a film as the film's."""
        if row.path not in self._films:
            yield row
            return
        self._rows[row.path].append(row)
        yield from self._joined(row.path)

    def _divided(self, item: Item) -> list[Item]:
        film = self._films.get(item.source)
        return [each for each in film.items if not _row_of(each)] if film else [item]

    def clean(self) -> None:
        """Remove what was made of pieces, where nothing is missing any more."""
        discard(self._folder)

    def _joined(self, source: str) -> Iterator[Row]:
        film, rows = self._films[source], self._rows[source]
        if len(rows) < len(film.pieces):
            return
        del self._films[source], self._rows[source]
        error = next((row.error for row in rows if row.error), "")
        try:
            if not error:
                whole = _put_together(film, rows)
                yield whole
                if not whole.error:
                    discard(film.folder)
                return
        except UnfitParts as failure:
            error = one_line(failure)
        self.whole.append((film.item, error))


def _state(source: str) -> list[int]:
    """Size and time of a film, which tell whether it is another one than before."""
    try:
        found = os.stat(source)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _item(film: Item, piece: Piece, stem: Path) -> Item:
    outputs = tuple((f"{stem}_{_suffix(where, content)}", content) for where, content in film.outputs)
    return replace(film, outputs=outputs, piece=piece, account=f"{stem}.json")


def _suffix(where: str, content: Content) -> str:
    return f"{content}{Path(where).suffix if content == 'overlay' else ''}"


def _row_of(item: Item) -> Row | None:
    """What was written down of a piece that was made by an earlier run."""
    if not all(os.path.exists(where) for where, _ in item.outputs):
        return None
    with suppress(OSError, ValueError, TypeError):
        return Row(**json.loads(Path(item.account).read_text(encoding="utf-8")))
    return None


def _put_together(film: Divided, rows: Sequence[Row]) -> Row:
    """Make a film's outputs of what was made of its pieces, and its row of theirs."""
    began, error = time.perf_counter(), ""
    try:
        for index, (where, content) in enumerate(film.item.outputs):
            parts = [item.outputs[index][0] for item in film.items]
            with Place(where) as place, told_of([place]):
                _MAKERS[content](film, parts, place.part)
                place.finish()
    except UnfitParts:
        raise
    except (FcnrtError, OSError) as failure:
        error = one_line(failure)
    return _row(rows, time.perf_counter() - began, error)


def _row(rows: Sequence[Row], seconds: float, error: str) -> Row:
    """A film's row: sums and means of its pieces' rows, and the worker that ended last."""
    last = max(rows, key=lambda row: row.finished)
    frames = sum(row.frames for row in rows)
    shares = [_mean(each, rows) for each in zip(*(row.shares for row in rows), strict=True)]
    confidence = _mean([row.confidence or 0.0 for row in rows], rows)
    took = round(seconds + sum(row.seconds for row in rows), 4)
    return replace(
        last, frames=frames, shares=shares, confidence=confidence, seconds=took, finished=time.time(), error=error
    )


def _mean(values: Sequence[float], rows: Sequence[Row]) -> float:
    """Over all frames of pieces."""
    whole = sum(value * row.frames for value, row in zip(values, rows, strict=True))
    return round(whole / sum(row.frames for row in rows), 6)


def _join_overlays(film: Divided, parts: Sequence[str], target: Path) -> None:
    begins = [piece.seconds for piece in film.pieces]
    join_films([Part(*each) for each in zip(parts, begins, strict=True)], target, film.item.source)


def _join_labels(film: Divided, parts: Sequence[str], target: Path) -> None:
    target.mkdir()
    number = 0
    for part, piece in zip(parts, film.pieces, strict=True):
        files = sorted(Path(part).iterdir())
        if len(files) != piece.frames:
            raise UnfitParts(f"{part}: expected {piece.frames} labels, got {len(files)}")
        for file in files:
            _link(file, target / f"{number:06d}{file.suffix}")
            number += 1


def _link(file: Path, target: Path) -> None:
    """A second name, or a copy where a disk has no such thing: the first one is needed again if this is cut short."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


_MAKERS = {"overlay": _join_overlays, "labels": _join_labels}
