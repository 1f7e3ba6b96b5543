"""Ways to damage a checkpoint, each by a seeded generator: its opcodes, its zip records, or any of its bytes."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable

from numpy.random import Generator

from hostile.mutators import Mutator, cut, flipped_bits, inserted_bytes, lost_page, swapped_blocks

NUMBERS = (0, 1, 255, 1 << 16, (1 << 31) - 1)
CALLS = (pickle.REDUCE, pickle.BUILD, pickle.NEWOBJ, pickle.APPEND, pickle.SETITEM, pickle.BINPERSID, pickle.TUPLE2,
         pickle.POP, pickle.DUP, pickle.MARK, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.SETITEMS, pickle.APPENDS,
         pickle.FROZENSET, pickle.STACK_GLOBAL, pickle.OBJ, pickle.MEMOIZE, b"Q", b"\xff")  # fmt: skip
CENTRAL = b"PK\x01\x02"
FIELDS = {8: 2, 10: 2, 16: 4, 20: 4, 24: 4, 28: 2, 30: 2, 42: 4}  # place and bytes: flags, method, checksum, sizes, ...


def opcodes(data: bytes) -> list[int]:
    """Where the opcodes of a pickle begin."""
    return [place for _, _, place in pickletools.genops(data) if place is not None]


def other_opcode(data: bytes, random: Generator) -> bytes:
    """Another step in place of one."""
    place = random.choice(opcodes(data))
    return data[:place] + CALLS[random.integers(len(CALLS))] + data[place + 1 :]


def more_opcodes(data: bytes, random: Generator) -> bytes:
    """A few steps more."""
    place = random.choice(opcodes(data))
    return data[:place] + b"".join(CALLS[index] for index in random.integers(len(CALLS), size=3)) + data[place:]


def repeated_steps(data: bytes, random: Generator) -> bytes:
    """Some steps many times over."""
    first, end = sorted(random.choice(opcodes(data), 2, replace=False))
    return data[:end] + data[first:end] * int(random.integers(1, 300)) + data[end:]


def lost_steps(data: bytes, random: Generator) -> bytes:
    """Some steps are missing."""
    first, end = sorted(random.choice(opcodes(data), 2, replace=False))
    return data[:first] + data[end:]


def other_numbers(data: bytes, random: Generator) -> bytes:
    """Sizes, strides, offsets and lengths of another size."""
    places = [place for opcode, _, place in pickletools.genops(data) if opcode.name in ("BININT1", "BININT2", "BININT")]
    changed = bytearray()
    last = 0
    for place in sorted(random.choice(places, min(3, len(places)), replace=False)):
        length = {b"K": 2, b"M": 3, b"J": 5}[data[place : place + 1]]
        changed += data[last:place] + pickle.BININT + struct.pack("<i", NUMBERS[random.integers(len(NUMBERS))])
        last = place + length
    return bytes(changed) + data[last:]


PICKLE_MUTATORS: tuple[Mutator, ...] = (other_opcode, more_opcodes, repeated_steps, lost_steps, other_numbers)


def in_its_record(change: Mutator) -> Mutator:
    """A pickle's mutator for a zip file of torch.save, whose checksums are right again."""

    def changed(data: bytes, random: Generator) -> bytes:
        return _rewritten(data, lambda name, record: change(record, random) if name.endswith("data.pkl") else record)

    changed.__name__ = change.__name__
    return changed


def packed_records(data: bytes, random: Generator) -> bytes:
    """Every record packed: the file says the same."""
    return _rewritten(data, lambda name, record: record, zipfile.ZIP_DEFLATED)


def cut_records(data: bytes, random: Generator) -> bytes:
    """Storages that are too short."""
    return _rewritten(
        data, lambda name, record: record[: random.integers(len(record) + 1)] if "/data/" in name else record
    )


def other_directory(data: bytes, random: Generator) -> bytes:
    """A record's entry in the directory says something else."""
    places = [place for place in range(len(data)) if data.startswith(CENTRAL, place)]
    field = list(FIELDS)[random.integers(len(FIELDS))]
    place = random.choice(places) + field
    return data[:place] + random.bytes(FIELDS[field]) + data[place + FIELDS[field] :]


def _rewritten(data: bytes, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w", method) as archive:
        for name in source.namelist():
            archive.writestr(name, change(name, source.read(name)))
    return target.getvalue()


BYTES: tuple[Mutator, ...] = (flipped_bits, lost_page, cut, swapped_blocks, inserted_bytes)
PICKLE: tuple[Mutator, ...] = (*BYTES, *PICKLE_MUTATORS)
ZIP: tuple[Mutator, ...] = (
    *BYTES, *map(in_its_record, PICKLE_MUTATORS), packed_records, cut_records, other_directory,
)  # fmt: skip
