"""The values that stand in a pickle behind their opcodes, never read beyond the file's own end."""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, Literal

MAX_INT_BYTES = 64  # states of random generators take 16
MAX_DIGITS = 154  # of as large a number


class Source:
    """A file, read in pieces that are no longer than it.

    Raises (from all methods):
        UnpicklingError: it ends too early.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        here = file.tell()
        self._size = file.seek(0, 2)
        file.seek(here)

    def take(self, count: int) -> bytes:
        """So many bytes."""
        data = self.file.read(count) if count <= self._size else b""
        if len(data) < count:
            raise pickle.UnpicklingError("ends too early")
        return data

    def line(self) -> bytes:
        """The bytes up to the next line end, which is left out."""
        data = self.file.readline()
        if not data.endswith(b"\n"):
            raise pickle.UnpicklingError("ends too early")
        return data[:-1]

    def unsigned(self, count: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(count), "little")

    def text_line(self) -> str:
        """A line as a name."""
        return self.line().decode("utf-8")

    def counted(self, count: int) -> bytes:
        """Bytes behind their number, which has `count` bytes itself."""
        return self.take(self.unsigned(count))


def _signed(source: Source) -> int:
    return int.from_bytes(source.take(4), "little", signed=True)


def _long(count: int) -> Callable[[Source], int]:
    def read(source: Source) -> int:
        length = source.unsigned(count)
        if length > MAX_INT_BYTES:
            raise pickle.UnpicklingError(f"a number of {length} bytes")
        return int.from_bytes(source.take(length), "little", signed=True)

    return read


def _digits(source: Source) -> int | bool:
    line = source.line()
    if len(line) > MAX_DIGITS:
        raise pickle.UnpicklingError(f"a number of {len(line)} digits")
    return line == b"01" if line in (b"00", b"01") else int(line.rstrip(b"L"))


def _number(source: Source) -> float:
    value: float = struct.unpack(">d", source.take(8))[0]
    return value


def _quoted(source: Source) -> str:
    """Python 2's text in quotes, with its escapes."""
    line = source.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise pickle.UnpicklingError("a text without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")  # type: ignore[attr-defined,no-any-return]


def _text(count: int, encoding: Literal["latin1", "utf-8"] = "utf-8") -> Callable[[Source], str]:
    return lambda source: source.counted(count).decode(encoding, "surrogatepass")


# Opcodes that push one value.
VALUES: dict[bytes, Callable[[Source], Any]] = {
    pickle.NONE: lambda source: None,
    pickle.NEWTRUE: lambda source: True,
    pickle.NEWFALSE: lambda source: False,
    pickle.INT: _digits,
    pickle.LONG: _digits,
    pickle.BININT: _signed,
    pickle.BININT1: lambda source: source.unsigned(1),
    pickle.BININT2: lambda source: source.unsigned(2),
    pickle.LONG1: _long(1),
    pickle.LONG4: _long(4),
    pickle.FLOAT: lambda source: float(source.line()),
    pickle.BINFLOAT: _number,
    pickle.STRING: _quoted,
    pickle.BINSTRING: _text(4, "latin1"),  # bytes of Python 2, as its arrays need them
    pickle.SHORT_BINSTRING: _text(1, "latin1"),
    pickle.UNICODE: lambda source: source.line().decode("raw-unicode-escape"),
    pickle.BINUNICODE: _text(4),
    pickle.SHORT_BINUNICODE: _text(1),
    pickle.BINUNICODE8: _text(8),
    pickle.BINBYTES: lambda source: source.counted(4),
    pickle.SHORT_BINBYTES: lambda source: source.counted(1),
    pickle.BINBYTES8: lambda source: source.counted(8),
    pickle.BYTEARRAY8: lambda source: bytearray(source.counted(8)),
    pickle.EMPTY_LIST: lambda source: [],
    pickle.EMPTY_DICT: lambda source: {},
    pickle.EMPTY_TUPLE: lambda source: (),
    pickle.EMPTY_SET: lambda source: set(),
}
