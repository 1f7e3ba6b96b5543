"""What was made with what: a line for each input that was done, so that a second run does only what is missing."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ..contract.files import PART, atomic_path
from ..errors import MediaError, needs
from .places import discard
from .work import Row

NAME = "manifest.jsonl"
TABLE = "table.parquet"
_WRITTEN_AT_ONCE = 1_000  # rows of the table


class Manifest:
    """The manifest of an output folder; a context manager.

    Each line is a row with `made_with`, and is on the disk before the next input counts as done. A line that was torn
    by a crash is passed over: its input is done again.

    Args:
        folder: where the outputs are.
        made_with: what outputs depend on beside their input: a digest of model and settings.

    Raises:
        MediaError: the folder holds files of something else, or cannot be written.
    """

    def __init__(self, folder: Path, made_with: str):
        self.path, self._folder, self._made_with = folder / NAME, folder, made_with
        if folder.is_dir() and any(folder.iterdir()) and not self.path.exists():
            raise MediaError(f"-o {folder}: expected a new folder, or one of an earlier fcnrt batch, got another")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"-o {folder}: cannot write there: {error.strerror}") from error
        self._file: IO[str] | None = None

    def __enter__(self) -> Manifest:
        try:
            torn = self.path.exists() and not _ends_a_line(self.path)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise MediaError(f"{self.path}: cannot write there: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise MediaError(f"-o {self._folder}: another run is writing there; wait for it") from error
        if torn:
            self._file.write("\n")
        self._sweep()
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._sweep()
            self._file.close()

    def _sweep(self) -> None:
        """Remove what killed workers left half-written; the lock says that nobody else is at work."""
        for part in self._folder.rglob(f"{PART}*"):
            discard(part)

    def done(self) -> Iterator[str]:
        """The inputs that were done, some perhaps several times; what became of their outputs is not looked at."""
        return (row["path"] for row in self._rows() if not row["error"])

    def made(self) -> Iterator[tuple[str, str]]:
        """The inputs that were done with whatever, and the name of their outputs."""
        return ((row["path"], row["name"]) for row in self._lines() if not row["error"] and row.get("name"))

    def add(self, row: Row, name: str = "") -> None:
        """Write a row down, and the name of its outputs."""
        assert self._file is not None
        self._file.write(json.dumps({**asdict(row), "name": name, "made_with": self._made_with}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def write_table(self, classes: Sequence[str]) -> Path:
        """The last row of each input as a Parquet table, a column for each class's share.

        Raises:
            MissingDependency: pyarrow is not installed.
            OSError: it cannot be written.
        """
        arrow, parquet = load_arrow()
        names = [f"share: {name}" for name in _distinct(classes)]
        schema = arrow.schema(
            [
                ("path", arrow.string()),
                ("frames", arrow.int64()),
                ("height", arrow.int32()),
                ("width", arrow.int32()),
                *((name, arrow.float64()) for name in names),
                ("confidence", arrow.float64()),
                ("seconds", arrow.float64()),
                ("finished", arrow.float64()),
                ("worker", arrow.int64()),
                ("host", arrow.string()),
                ("error", arrow.string()),
            ]
        )
        with (
            atomic_path(self._folder / TABLE) as part,
            parquet.ParquetWriter(part, schema) as writer,
        ):
            rows = self._last_rows()
            while piece := [_flat(row, names) for row in itertools.islice(rows, _WRITTEN_AT_ONCE)]:
                writer.write_table(arrow.Table.from_pylist(piece, schema))
        return self._folder / TABLE

    def _last_rows(self) -> Iterator[dict[str, Any]]:
        """The last row of each input; never all at once, nor all their names: there may be millions."""
        with contextlib.closing(sqlite3.connect("")) as base:  # a file that is gone with the process
            base.execute("pragma journal_mode = off")
            base.execute("create table last (path blob primary key, number integer) without rowid")
            numbered = ((os.fsencode(row["path"]), number) for number, row in enumerate(self._rows()))
            base.executemany("insert or replace into last values (?, ?)", numbered)
            for number, row in enumerate(self._rows()):
                found = base.execute("select number from last where path = ?", (os.fsencode(row["path"]),)).fetchone()
                if found == (number,):
                    yield row

    def _rows(self) -> Iterator[dict[str, Any]]:
        """What was written down of this model and these settings."""
        return (row for row in self._lines() if row.get("made_with") == self._made_with)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(ValueError, TypeError):
                    row = json.loads(line)
                    if isinstance(row, dict) and {*row} >= {"path", "error", "shares"}:
                        yield row


def load_arrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet; raises MissingDependency."""
    with needs("pyarrow", "fcnrt[batch]"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet


def _flat(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**row, **dict(zip(names, row["shares"], strict=False))}


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, with their number where two are the same."""
    return [name if names.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(names)]


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
