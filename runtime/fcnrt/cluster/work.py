"""What a worker does: one Segmenter, and an input after the other, each made whole or not at all."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.files import write_json
from ..errors import FcnrtError, first_line, one_line
from ..pictures.drawing import Drawing
from ..segmenter import Segmenter
from ..video import FrameSource, Sink, open_source
from ..video.frames import Labelled
from ..video.shares import class_shares
from ..video.sinks import Content, Material, open_sink
from ..video.sources.pieces import Piece, PieceReader
from .places import Place, readable, told_of, under_own_name


@dataclass(frozen=True)
class Settings:
    """How inputs are labelled: the Segmenter's arguments that a worker needs."""

    model: Path
    device: str = "auto"
    threads: int = 1
    input_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Item:
    """An input, and the files or folders to make of it with what goes into each.

    Attributes:
        is_film: whether it may take long.
        piece: of the film, which is to be labelled alone; None: all of it.
        account: of a piece, the file that its row is to be written to when its outputs are there.
    """

    source: str
    outputs: tuple[tuple[str, Content], ...]
    is_film: bool = False
    piece: Piece | None = None
    account: str = ""


class Items:
    """Items that are made as they are asked for, of which there may be millions.

    Args:
        count: how many there are.
        begin: begins to make them.
    """

    def __init__(self, count: int, begin: Callable[[], Iterable[Item]]):
        self._count, self._begin = count, begin

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        return iter(self._begin())


@dataclass(frozen=True)
class Row:
    """What came of an input.

    Attributes:
        path: the input.
        frames: that were labelled.
        height, width: of the last frame, in pixels.
        shares: of each class in all its frames.
        confidence: mean probability of the labels; None where there are none.
        seconds: that it took, files included.
        finished: when, in seconds since 1970, by the worker's clock.
        worker: the process.
        host: the machine that it runs on.
        error: what was wrong, "" where nothing was.
    """

    path: str
    frames: int
    height: int
    width: int
    shares: list[float]
    confidence: float | None
    seconds: float
    finished: float
    worker: int
    host: str
    error: str


class Worker:
    """A Segmenter that labels inputs.

    Args:
        settings: of the Segmenter.

    Raises:
        FcnrtError: as the Segmenter.
    """

    def __init__(self, settings: Settings):
        self._segmenter = Segmenter(
            settings.model,
            device=settings.device,
            threads=settings.threads,
            color="rgb",
            input_size=settings.input_size,
        )
        self._drawing = Drawing(self._segmenter.palette)

    def do(self, item: Item) -> Row:
        """Label an input; what is wrong with it stands in the row."""
        started, tally, error = time.perf_counter(), _Tally(len(self._segmenter.classes)), ""
        try:
            self._label(item, tally)
        except Exception as failure:
            error = under_own_name(_words(failure), item.source)
        row = tally.row(item.source, time.perf_counter() - started, error)
        return _accounted(row, item.account) if item.account and not error else row

    def close(self) -> None:
        """Free the engine; a second call does nothing."""
        self._segmenter.close()

    def _label(self, item: Item, tally: _Tally) -> None:
        with ExitStack() as held:
            name = held.enter_context(readable(item.source))
            places = [held.enter_context(Place(where)) for where, _ in item.outputs]
            held.enter_context(told_of(places))
            audio_from = name if item.piece is None and Path(name).is_file() else None
            with _opened(name, item.piece) as source, ExitStack() as finished:
                sinks = [
                    finished.enter_context(closing(self._sink(place.part, content, source, audio_from)))
                    for place, (_, content) in zip(places, item.outputs, strict=True)
                ]
                self._label_frames(source, sinks, tally)
            for place in places:
                place.finish()

    def _label_frames(self, source: FrameSource, sinks: list[Sink], tally: _Tally) -> None:
        for frame in source:
            confidence = np.empty(frame.pixels.shape[:2], np.uint8)
            labels = self._segmenter(frame.pixels, confidence=confidence)
            labelled = Labelled(frame, labels)
            tally.add(labels, confidence)
            for sink in sinks:
                sink.write(sink.draw(labelled))

    def _sink(self, part: Path, content: Content, source: FrameSource, audio_from: str | None) -> Sink:
        self._drawing.begin()
        return open_sink(str(part), content, Material(source, self._drawing, self._segmenter.palette, audio_from))


def _opened(name: str, piece: Piece | None) -> FrameSource:
    if piece is None:
        return open_source(name)
    return PieceReader(name, piece)


def _accounted(row: Row, account: str) -> Row:
    try:
        write_json(Path(account), asdict(row))
    except OSError as error:
        return replace(row, error=one_line(error))
    return row


class _Tally:
    """What has been seen of one input."""

    def __init__(self, classes: int):
        self._classes = classes
        self._shares: Any = np.zeros(classes)
        self._confidence, self._frames, self._size = 0.0, 0, (0, 0)

    def add(self, labels: Any, confidence: Any) -> None:
        self._shares += class_shares(labels, self._classes)
        self._confidence += float(confidence.mean()) / 255
        self._frames, self._size = self._frames + 1, labels.shape

    def row(self, path: str, seconds: float, error: str) -> Row:
        frames = max(1, self._frames)
        confidence = round(self._confidence / frames, 6) if self._frames else None
        shares = [round(float(share), 6) for share in self._shares / frames]
        took = (round(seconds, 4), round(time.time(), 3))
        worker = (os.getpid(), socket.gethostname())
        return Row(path, self._frames, *self._size, shares, confidence, *took, *worker, error)


def _words(error: Exception) -> str:
    if isinstance(error, (FcnrtError, OSError)):
        return one_line(error) or type(error).__name__
    return f"{type(error).__name__}: {first_line(error)}"
