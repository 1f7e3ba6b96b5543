"""An ONNX file's bytes: without its weights, which stay where they lie, and with other properties.

To parse a file takes as much memory again as it is long, and an engine parses it once more. But only the graph, some
kilobytes, is to be changed for an engine; the weights it can read by itself, where they lie. And properties can be
read and changed without touching a byte of the graph.

The wire format of protocol buffers: a message is a row of fields, each a key (number << 3 | kind) and a varint
(kind 0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GRAPH, INITIALIZER, NAME, RAW_DATA = 7, 5, 8, 9  # of ModelProto, GraphProto, TensorProto
PROPERTY, KEY, VALUE = 14, 1, 2  # metadata_props of ModelProto, StringStringEntryProto
LEAST = 1 << 12  # bytes of a tensor that is left in the file

Data = bytes | mmap.mmap
_SIZES = {1: 8, 5: 4}  # of kinds of fixed length


class Place(NamedTuple):
    """Where a tensor's bytes lie in its file."""

    offset: int
    length: int


class _Field(NamedTuple):
    number: int
    start: int  # of its key
    first: int  # of its content
    end: int


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[Data]:
    """A file's bytes, read when they are looked at; raises OSError."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:  # of which no map can be made
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def without_weights(data: Data) -> tuple[bytes, dict[str, Place]]:
    """A model, but for the data of large initializers, which are left empty.

    Returns:
        The serialised ModelProto, and the places of what was left out, by the tensors' names, in their order.

    Raises:
        ValueError: it is no ONNX file, or a damaged one.
    """
    places: dict[str, Place] = {}
    parts = [
        _message(GRAPH, _graph(data, field, places)) if field.number == GRAPH else data[field.start : field.end]
        for field in _fields(data, 0, len(data))
    ]
    return b"".join(parts), places


def properties(data: Data) -> dict[str, str]:
    """A model's metadata_props; raises ValueError where it is none, or damaged."""
    found = (_property(data, field) for field in _fields(data, 0, len(data)) if field.number == PROPERTY)
    return dict(found)


def without_properties(data: Data) -> bytes:
    """All of a model but its metadata_props; raises ValueError where it is none, or damaged."""
    return b"".join(data[field.start : field.end] for field in _fields(data, 0, len(data)) if field.number != PROPERTY)


def with_property(data: Data, key: str, value: str | None) -> bytes:
    """A model with a property, or without it where the value is None; nothing else is touched.

    Raises:
        ValueError: it is no model, or damaged.
    """
    kept = [
        data[field.start : field.end]
        for field in _fields(data, 0, len(data))
        if field.number != PROPERTY or _property(data, field)[0] != key
    ]
    if value is not None:
        kept.append(_message(PROPERTY, _message(KEY, key.encode()) + _message(VALUE, value.encode())))
    return b"".join(kept)


def _property(data: Data, entry: _Field) -> tuple[str, str]:
    texts = {field.number: data[field.first : field.end].decode() for field in _fields(data, entry.first, entry.end)}
    return texts.get(KEY, ""), texts.get(VALUE, "")


def _graph(data: Data, graph: _Field, places: dict[str, Place]) -> bytes:
    return b"".join(
        _message(INITIALIZER, _tensor(data, field, places))
        if field.number == INITIALIZER
        else data[field.start : field.end]
        for field in _fields(data, graph.first, graph.end)
    )


def _tensor(data: Data, tensor: _Field, places: dict[str, Place]) -> bytes:
    fields = {field.number: field for field in _fields(data, tensor.first, tensor.end)}
    raw, name = fields.get(RAW_DATA), fields.get(NAME)
    if raw is None or name is None or raw.end - raw.first < LEAST:
        return data[tensor.first : tensor.end]
    text = data[name.first : name.end].decode()
    if text in places:
        raise ValueError(f"two tensors called {text!r}")
    places[text] = Place(raw.first, raw.end - raw.first)
    return data[tensor.first : raw.start] + data[raw.end : tensor.end]


def _fields(data: Data, first: int, end: int) -> Iterator[_Field]:
    while first < end:
        start = first
        key, first = _varint(data, first, end)
        size, first = _size(data, key & 7, first, end)
        if first + size > end:
            raise ValueError("a field is longer than what holds it")
        yield _Field(key >> 3, start, first, first + size)
        first += size


def _size(data: Data, kind: int, first: int, end: int) -> tuple[int, int]:
    """Length and beginning of a field's content."""
    if kind == 2:
        return _varint(data, first, end)
    if kind == 0:
        return _varint(data, first, end)[1] - first, first
    if kind not in _SIZES:
        raise ValueError(f"a field of unknown kind {kind}")
    return _SIZES[kind], first


def _varint(data: Data, first: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where what follows begins."""
    value = 0
    for shift, at in zip(range(0, 64, 7), range(first, end), strict=False):
        value |= (data[at] & 127) << shift
        if data[at] < 128:
            return value, at + 1
    raise ValueError("a number does not end")


def _message(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    text = bytearray()
    while value > 127:
        text.append(value & 127 | 128)
        value >>= 7
    return bytes([*text, value])
