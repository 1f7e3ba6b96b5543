"""Where the numbers of torch's pickles lie: in records of a zip file, or behind the pickle in the old format."""

from __future__ import annotations

import io
import mmap
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from .budget import Budget, most_bytes
from .builders import Storage
from .machine import Machine

NBYTES = 8  # of the count before each storage of the old format
DTYPES = {"Float": torch.float32, "Half": torch.float16, "Double": torch.float64, "BFloat16": torch.bfloat16,
          "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
          "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128}  # fmt: skip
LOCAL_HEADER = struct.Struct("<26xHH")  # of a record in a zip file: lengths of its name and of what else is there


def zipped(path: Path, pickled: str) -> Any:
    """What a zip file of torch.save or torch.jit.save holds.

    Args:
        path: the file, whose records were checked.
        pickled: the name of the record with the pickle.
    """
    folder = pickled.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    with zipfile.ZipFile(path) as archive:
        records = Records(path, archive)
        swapped = order in archive.namelist() and archive.read(order) == b"big"

        def storage(saved: Any) -> Storage:
            kind, key, _ = _described(saved)
            dtype = DTYPES.get(kind, torch.uint8)
            return Storage(records.record(f"{folder}data/{key}", dtype if swapped else None), dtype)

        file = io.BytesIO(archive.read(pickled))
        return Machine(file, Budget(most_bytes(path.stat().st_size)), storage, within).load()


def within(raw: bytes, budget: Budget) -> Any:
    """What a file of the old format in a pickle holds."""
    file = io.BytesIO(raw)
    if Machine(file, budget).load() != MAGIC_NUMBER:
        raise pickle.UnpicklingError("holds a file within that is none of torch")
    return behind(file, budget)


def behind(file: BinaryIO, budget: Budget) -> Any:
    """What a file of the old format holds, whose first number was read."""
    storages = _Behind(budget)
    machine = Machine(file, budget, storages.storage, within)
    if machine.load() != PROTOCOL_VERSION:
        raise pickle.UnpicklingError("a file of torch of another version")
    machine.load()  # the system that it was written on
    root = machine.load()
    for key in machine.load():
        storages.fill(key, file)
    return root


def _described(saved: Any) -> tuple[str, str, int]:
    """Type, key and length of a storage, as a pickle says it."""
    if not isinstance(saved, tuple) or len(saved) < 5 or saved[0] != "storage":
        raise pickle.UnpicklingError("refers to data in an unknown way")
    _, kind, key, _, count, *_ = saved
    if not isinstance(kind, type) or type(key) is not str or type(count) is not int or count < 0:
        raise pickle.UnpicklingError("refers to data in an unknown way")
    return kind.__name__.removesuffix("Storage"), key, count


class Records:
    """The records of a zip file as storages; those that are stored as they are stay in the file.

    Args:
        path: the file.
        archive: the same, opened.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self._archive = archive
        self._found: dict[str, torch.UntypedStorage] = {}
        with path.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def record(self, name: str, swapped: torch.dtype | None = None) -> torch.UntypedStorage:
        """A record by its full name, read once.

        Args:
            name: of the record.
            swapped: the type of its elements, if their bytes are in the other order.
        """
        if name not in self._found:
            data = self._read(self._archive.getinfo(name))
            if swapped is not None:
                data.byteswap(swapped)
            self._found[name] = data
        return self._found[name]

    def _read(self, info: zipfile.ZipInfo) -> torch.UntypedStorage:
        if info.compress_type != zipfile.ZIP_STORED:
            return _untyped(bytearray(self._archive.read(info)))
        start = info.header_offset + LOCAL_HEADER.size
        start += sum(LOCAL_HEADER.unpack_from(self._mapped, info.header_offset))
        return _untyped(self._mapped, start, info.file_size)


class _Behind:
    """Storages behind the pickle, which gives their lengths before they are read."""

    def __init__(self, budget: Budget):
        self._budget = budget
        self._found: dict[str, tuple[bytearray, torch.UntypedStorage, int]] = {}

    def storage(self, saved: Any) -> Any:
        """The storage that a pickle refers to, which is filled later; the class, where it speaks of its source."""
        if isinstance(saved, tuple) and len(saved) > 1 and saved[0] == "module":
            return saved[1]
        kind, key, count = _described(saved)
        dtype = DTYPES.get(kind, torch.uint8)
        if key not in self._found:
            self._budget.take_bytes(count * dtype.itemsize)
            content = bytearray(count * dtype.itemsize)
            self._found[key] = content, _untyped(content), dtype.itemsize
        view = saved[5] if len(saved) > 5 else None
        data = self._found[key][1]
        return Storage(data if view is None else _part(data, view, dtype.itemsize), dtype)

    def fill(self, key: Any, file: BinaryIO) -> None:
        """Read a storage from where the file stands."""
        if type(key) is not str or key not in self._found:
            raise pickle.UnpicklingError("has data that its pickle does not use")
        content, _, size = self._found[key]
        count = int.from_bytes(file.read(NBYTES), "little")
        if count * size != len(content) or file.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise pickle.UnpicklingError("ends too early")


def _part(data: torch.UntypedStorage, view: Any, size: int) -> torch.UntypedStorage:
    """A view of a storage, as (name, first, count) in elements."""
    if not isinstance(view, tuple) or len(view) != 3 or any(type(number) is not int for number in view[1:]):
        raise pickle.UnpicklingError("refers to data in an unknown way")
    first, end = view[1] * size, (view[1] + view[2]) * size
    if not 0 <= first <= end <= data.nbytes():
        raise pickle.UnpicklingError("a tensor that is larger than its data")
    return data[first:end]  # type: ignore[return-value]


def _untyped(buffer: bytearray | mmap.mmap, start: int = 0, count: int | None = None) -> torch.UntypedStorage:
    """Bytes as a storage, of the same memory where torch can compute with that."""
    count = len(buffer) if count is None else count
    if not count:
        return torch.UntypedStorage(0)
    values = torch.frombuffer(buffer, dtype=torch.uint8, offset=start, count=count)
    return (values if values.data_ptr() % 16 == 0 else values.clone()).untyped_storage()
