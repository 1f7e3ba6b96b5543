"""The inputs of `fcnrt batch`: listed, named and looked up in a database on the disk, as there may be millions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..cluster.places import absolute
from ..cluster.stores import everything_below, find_stored, is_stored
from ..cluster.work import Item, Items
from ..errors import MediaError
from ..pictures.inputs import Search, passed_over
from ..pictures.kinds import FILM_SUFFIXES, PICTURE_SUFFIXES
from ..video.addresses import is_stream
from .jobs import is_moving, job_of
from .names import Source, folded, longer_name, plain_name

_AT_ONCE = 1_000  # rows in memory

# Names as bytes: those of files need not be text.
_TABLE = """
create table inputs (
    key blob primary key, path blob, root blob, moves integer, name blob, folded blob, missing integer default 1
) without rowid
"""
_CLASHES = "select folded from inputs group by folded having count(*) > 1"


class Archive:
    """Inputs, each once, with the names of their outputs.

    Args:
        inputs: files, folders, patterns, addresses.
        folder: of the outputs; a path or an address.
        labels, overlay: what is wanted; neither means what suits the input.
        tell: takes a line about what was passed over.

    Attributes:
        total: how many there are.

    Raises:
        MediaError: an input names none.
        MissingDependency: pyarrow is not installed, and an input is in an object store.
    """

    def __init__(self, inputs: Iterable[str], folder: str, *, labels: bool, overlay: bool, tell: Callable[[str], None]):
        self._folder, self._labels, self._overlay = folder, labels, overlay
        self._base = sqlite3.connect("")  # a file that is gone with the process
        for statement in ("pragma journal_mode = off", "pragma synchronous = off", _TABLE):
            self._base.execute(statement)
        self._fill(source for where in inputs for source in _sources(where, tell))
        self._name()
        self.total: int = self._one("select count(*) from inputs")

    def check_apart(self, made: Iterable[tuple[str, str]], is_there: Callable[[str], bool]) -> None:
        """Raise MediaError where outputs of other inputs, given with their names, would be written over."""
        for path, name in made:
            clash = next(self._rows("folded = ? and key != ?", os.fsencode(folded(name)), _key(path)), None)
            if clash and not self._has(path) and any(is_there(where) for where, _ in clash[1].outputs):
                raise MediaError(
                    f"{clash[1].source}: its outputs would replace those of {path} in {self._folder}; "
                    "give another folder, or both inputs at once"
                )

    def drop(self, done: Iterable[str], is_there: Callable[[str], bool]) -> None:
        """Leave out those of these inputs of which all outputs are there."""
        self._base.executemany("update inputs set missing = 0 where key = ?", ((_key(each),) for each in done))
        for key, item in self._rows("not missing"):
            if not all(is_there(where) for where, _ in item.outputs):
                self._base.execute("update inputs set missing = 1 where key = ?", (key,))

    @property
    def missing(self) -> Items:
        """What is to be done, in the order of the names."""
        return Items(self._one("select count(*) from inputs where missing"), self._missing)

    def name_of(self, source: str) -> str:
        """Of an input's outputs, below their folder and without what tells them apart."""
        (name,) = self._base.execute("select name from inputs where key = ?", (_key(source),)).fetchone()
        return os.fsdecode(name)

    def close(self) -> None:
        """Remove the database."""
        self._base.close()

    def _missing(self) -> Iterator[Item]:
        return (item for _, item in self._rows("missing"))

    def _has(self, source: str) -> bool:
        return self._base.execute("select 1 from inputs where key = ?", (_key(source),)).fetchone() is not None

    def _rows(self, which: str, *values: bytes) -> Iterator[tuple[bytes, Item]]:
        query = (
            f"select key, path, root, moves, name from inputs where key > ? and {which} order by key limit {_AT_ONCE}"
        )
        key = b""
        while rows := self._base.execute(query, (key, *values)).fetchall():
            for key, path, root, moves, name in rows:
                yield key, self._item(_source(path, root), os.fsdecode(name), bool(moves))

    def _item(self, source: Source, name: str, moves: bool) -> Item:
        job = job_of(source, os.path.join(self._folder, name), moves, labels=self._labels, overlay=self._overlay)
        outputs = tuple((output.where, output.content) for output in job.outputs)
        return Item(absolute(job.source), outputs, is_film=not job.is_picture)

    def _fill(self, sources: Iterable[Source]) -> None:
        self._base.executemany(
            "insert or ignore into inputs (key, path, root, moves) values (?, ?, ?, ?)",
            ((_key(each.where), *_columns(each), is_moving(each)) for each in sources),
        )

    def _name(self) -> None:
        """As `output_names` does."""
        define = self._base.create_function
        define("folded", 1, lambda name: os.fsencode(folded(os.fsdecode(name))))
        define("named", 2, lambda path, root: os.fsencode(plain_name(_source(path, root))))
        define("longer", 3, lambda path, root, name: os.fsencode(longer_name(_source(path, root), os.fsdecode(name))))
        self._set_names("named(path, root)")
        if self._one(f"select count(*) from ({_CLASHES})"):
            common = self._common_folder()
            define("below", 2, lambda path, root: os.fsencode(plain_name(Source(os.fsdecode(path), root and common))))
            self._set_names("below(path, root)")
            self._set_names("longer(path, root, name)", f"where folded in ({_CLASHES})")

    def _set_names(self, value: str, which: str = "") -> None:
        self._base.execute("drop index if exists names")
        self._base.execute(f"update inputs set name = {value} {which}")
        self._base.execute("update inputs set folded = folded(name)")
        self._base.execute("create index names on inputs (folded)")

    def _common_folder(self) -> Path:
        common: str | None = None
        for (path,) in self._base.execute("select path from inputs where root is not null"):
            folder = str(Path(os.fsdecode(path)).absolute().parent)
            common = folder if common is None else os.path.commonpath([common, folder])
        return Path(common or "")

    def _one(self, query: str) -> int:
        return int(self._base.execute(query).fetchone()[0])


def what_is_there(store: str | None) -> Callable[[str], bool]:
    """Tells whether an output exists; what is in a store is listed once."""
    return os.path.exists if store is None else everything_below(store).__contains__


def _key(where: str) -> bytes:
    """What an input is known by, from whichever folder it is named."""
    return os.fsencode(absolute(where))


def _columns(source: Source) -> tuple[bytes, bytes | None]:
    return os.fsencode(source.where), None if source.root is None else os.fsencode(source.root)


def _source(path: bytes, root: bytes | None) -> Source:
    return Source(os.fsdecode(path), None if root is None else Path(os.fsdecode(root)))


def _sources(where: str, tell: Callable[[str], None]) -> Iterator[Source]:
    if is_stored(where):
        yield from _stored(where, tell)
    elif is_stream(where):
        yield Source(where)
    else:
        search = Search(where)
        yield from (Source(str(path), search.root) for path in search)
        if search.note:
            tell(search.note)


def _stored(where: str, tell: Callable[[str], None]) -> Iterator[Source]:
    """By their names: contents would have to be fetched."""
    root, objects = find_stored(where)
    taken = [each for each in objects if each.lower().endswith(PICTURE_SUFFIXES + FILM_SUFFIXES)]
    if not taken:
        raise MediaError(f"{where}: no picture or video there; known are {' '.join(PICTURE_SUFFIXES + FILM_SUFFIXES)}")
    yield from (Source(each, Path(root)) for each in taken)
    note = passed_over(root, [each.removeprefix(f"{root}/") for each in objects if each not in {*taken}])
    if note:
        tell(note)
