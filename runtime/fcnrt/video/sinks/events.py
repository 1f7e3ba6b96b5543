"""Shares of classes as a line of JSON or CSV for each frame."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, TextIO

from ...contract.pipes import silence
from ...errors import MediaError, first_line
from ..frames import FrameSource, Labelled, Sink
from ..shares import Shares, class_confidence, class_shares
from .host import host_confidence, host_labels

STDOUT = "-"
_DIGITS = 6


class Event(NamedTuple):
    """What is told of a frame.

    Attributes:
        input: the source's name.
        number: the frame's.
        time_s: when it is to be shown, in seconds after the first.
        utc: when it was decoded, of a live source; ISO 8601.
        shares: of each class in the picture, from 0 to 1.
        confidence: mean probability of each class's labels, None for a class that is not there; or None.
    """

    input: str
    number: int
    time_s: float
    utc: str | None
    shares: dict[str, float]
    confidence: dict[str, float | None] | None


class EventLog:
    """A file that a line is added to for each event, at once; several inputs may share it.

    A file that is there is continued.

    Args:
        where: a path; CSV where it ends in .csv, else a JSON object a line; "-" for JSON on the standard output.
        classes: the names of those that are told of, in the order of the columns.
        confidence: whether the events have one.

    Raises:
        MediaError: it cannot be written, or has other columns.
    """

    def __init__(self, where: str, classes: Sequence[str], confidence: bool = False) -> None:
        self.name, self._writing = where, threading.Lock()
        self._line: Callable[[Event], str] = _json_line
        self._file: TextIO = sys.stdout if where == STDOUT else _opened(where)
        if Path(where).suffix.lower() == ".csv":
            self._line = _csv_line
            self._begin_table(_header(classes, confidence))

    def write(self, event: Event) -> None:
        """Add a line; raises MediaError where that fails, as on a full disk."""
        with self._writing, _told(self.name):
            self._file.write(self._line(event))
            self._file.flush()

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file is not sys.stdout:
            with contextlib.suppress(OSError):  # told when it came up: each line is flushed
                self._file.close()

    def _begin_table(self, header: str) -> None:
        """Write the head of a new table; raises MediaError where there is another one."""
        with _told(self.name), open(self.name, encoding="utf-8") as written:
            found = written.readline()
            if not found:
                self._file.write(header)
        if found and found != header:
            self.close()
            raise MediaError(f"{self.name}: expected the columns {header.strip()}, got others; choose another file")


class Events(Sink):
    """Tells of each labelled frame which class covers how much of it.

    Args:
        log: where to; it stays open.
        source: where the frames come from.
        classes: their names, in label order.
        told: the numbers of those classes that are told of; None for all.
    """

    in_main_thread = False

    def __init__(
        self, log: EventLog, source: FrameSource, classes: Sequence[str], told: Sequence[int] | None = None
    ) -> None:
        self.name, self._input, self._log, self._live = log.name, source.name, log, source.live
        self._classes, self._told = tuple(classes), range(len(classes)) if told is None else told
        # Of the clock that people read, over the one that frames are stamped by.
        self._epoch_s = time.time() - time.monotonic()

    def draw(self, labelled: Labelled) -> Event:
        frame, labels = labelled.frame, host_labels(labelled)
        confidence, count = host_confidence(labelled), len(self._classes)
        sure = None if confidence is None else class_confidence(labels, confidence, count)
        return Event(
            self._input,
            frame.number,
            round(float(frame.time), _DIGITS),
            _iso(self._epoch_s + frame.decoded_at) if self._live else None,
            {name: value or 0.0 for name, value in self._named(class_shares(labels, count))},
            None if sure is None else dict(self._named(sure)),
        )

    def write(self, drawn: Event) -> None:
        self._log.write(drawn)

    def close(self) -> None:
        """Nothing is left to do: each line is flushed."""

    def _named(self, values: Shares) -> list[tuple[str, float | None]]:
        rounded = [None if math.isnan(value) else round(value, _DIGITS) for value in values.tolist()]
        return [(self._classes[index], rounded[index]) for index in self._told]


def _opened(where: str) -> TextIO:
    """A text file to go on with; a line that was torn off is ended."""
    with _told(where):
        file = open(where, "a+", encoding="utf-8", newline="")  # noqa: SIM115  (closed by the log)
        if file.tell():
            with open(where, "rb") as written:
                written.seek(-1, 2)
                torn = written.read() != b"\n"
            file.write("\n" if torn else "")
    return file


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn errors of the system into a line about the log."""
    try:
        yield
    except BrokenPipeError as error:
        silence(sys.stdout)
        raise MediaError(f"{name}: the reader went away") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot write events there: {error.strerror or first_line(error)}") from error


def _json_line(event: Event) -> str:
    told = {key: value for key, value in event._asdict().items() if value is not None}
    return json.dumps(told, ensure_ascii=False) + "\n"


def _csv_line(event: Event) -> str:
    sure = event.confidence or {}
    return _row([*event[:4], *event.shares.values(), *sure.values()])


def _header(classes: Sequence[str], confidence: bool) -> str:
    sure = [f"confidence {name}" for name in classes] if confidence else []
    return _row([*Event._fields[:4], *(f"share {name}" for name in classes), *sure])


def _row(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
