"""An ONNX file without its weights: they stay in the file, and where each lies there is told instead.

To parse a file takes as much memory again as it is long, and an engine parses it once more. But only the graph, some
kilobytes, is to be changed for an engine; the weights it can read by itself, where they lie.

The wire format of protocol buffers: a message is a row of fields, each a key (number << 3 | kind) and a varint
(kind 0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GRAPH, INITIALIZER, NAME, RAW_DATA = 7, 5, 8, 9  # of ModelProto, GraphProto, TensorProto
LEAST = 1 << 12  # bytes of a tensor that is left in the file

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


def without_weights(path: Path) -> tuple[bytes, dict[str, Place]]:
    """Read a model, but for the data of large initializers, which are left empty.

    Returns:
        The serialised ModelProto, and the places of what was left out, by the tensors' names.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no ONNX file, or a damaged one.
    """
    places: dict[str, Place] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        parts = [
            _message(GRAPH, _graph(data, field, places)) if field.number == GRAPH else data[field.start : field.end]
            for field in _fields(data, 0, len(data))
        ]
    return b"".join(parts), places


def _graph(data: mmap.mmap, graph: _Field, places: dict[str, Place]) -> bytes:
    return b"".join(
        _message(INITIALIZER, _tensor(data, field, places))
        if field.number == INITIALIZER
        else data[field.start : field.end]
        for field in _fields(data, graph.first, graph.end)
    )


def _tensor(data: mmap.mmap, tensor: _Field, places: dict[str, Place]) -> bytes:
    fields = {field.number: field for field in _fields(data, tensor.first, tensor.end)}
    raw, name = fields.get(RAW_DATA), fields.get(NAME)
    if raw is None or name is None or raw.end - raw.first < LEAST:
        return data[tensor.first : tensor.end]
    places[data[name.first : name.end].decode()] = Place(raw.first, raw.end - raw.first)
    return data[tensor.first : raw.start] + data[raw.end : tensor.end]


def _fields(data: mmap.mmap, first: int, end: int) -> Iterator[_Field]:
    while first < end:
        start = first
        key, first = _varint(data, first, end)
        size, first = _size(data, key & 7, first, end)
        if first + size > end:
            raise ValueError("a field is longer than what holds it")
        yield _Field(key >> 3, start, first, first + size)
        first += size


def _size(data: mmap.mmap, kind: int, first: int, end: int) -> tuple[int, int]:
    """Length and beginning of a field's content."""
    if kind == 2:
        return _varint(data, first, end)
    if kind == 0:
        return _varint(data, first, end)[1] - first, first
    if kind not in _SIZES:
        raise ValueError(f"a field of unknown kind {kind}")
    return _SIZES[kind], first


def _varint(data: mmap.mmap, first: int, end: int) -> tuple[int, int]:
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
