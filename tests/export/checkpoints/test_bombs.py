"""Small files that ask for much: hours by keys that collide, gigabytes by shapes, both by objects used many times.

Each would take minutes or gigabytes if it were believed; here it is refused before, or has nothing to offer.
"""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fcn_export.checkpoints.pickles import budget, machine
from fcn_export.checkpoints.pickles.budget import Budget
from fcn_export.checkpoints.pickles.machine import Machine
from fcn_export.checkpoints.reading import load_checkpoint
from fcn_export.errors import ExportError

PROTO = b"\x80\x02"
MODULUS = (1 << 61) - 1  # whole numbers that differ by it have one hash
COUNT = 60_000  # keys of one hash: their comparisons would take minutes
FLOATS = b"ctorch\nFloatStorage\n"
VIEW = b"ctorch._utils\n_rebuild_tensor_v2\n"
SHELL = b"cproject\nA\n"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
FLOAT_DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4K\x00K\x01tR"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def each(make: Callable[[int], bytes], count: int = COUNT) -> bytes:
    return b"".join(make(index) for index in range(1, count + 1))


def many(value: bytes, count: int) -> bytes:
    """A list that holds what is made so, many times over."""
    return b"](" + value * count + b"e"


def nested(depth: int) -> bytes:
    """A pair of a pair of a pair, each the same twice: 2^depth to whoever looks at all of it."""
    return b")" + b"q\x00h\x00\x86" * depth


def stored(count: bytes = b"K\x01", key: bytes = text("0")) -> bytes:
    return b"(" + text("storage") + FLOATS + key + text("cpu") + count + b"tQ"


def tensor(storage: bytes, *size: int, stride: int = 0) -> bytes:
    sizes, strides = (b"(" + b"".join(map(number, values)) + b"t" for values in (size, [stride] * len(size)))
    return VIEW + b"(" + storage + b"K\x00" + sizes + strides + b"\x89}tR"


def zipped(body: bytes, floats: int = 1) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", PROTO + body + b".")
        archive.writestr("net/data/0", bytes(4 * floats))
    return file.getvalue()


def legacy(body: bytes, keys: bytes = b"]") -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (torch.serialization.MAGIC_NUMBER, 1001, {}))
    return head + PROTO + body + b"." + PROTO + keys + b"."


def storage_within() -> bytes:
    file = io.BytesIO()
    torch.save(torch.zeros(250_000).untyped_storage(), file, _use_new_zipfile_serialization=False)
    return b"B" + struct.pack("<I", len(file.getvalue())) + file.getvalue()


def module_of_itself() -> bytes:
    parts = b"".join(text(str(index)) + b"h\x02" for index in range(10))
    layer = b"q\x020h\x01)\x81}" + text("_modules") + b"}(" + parts + b"usb"
    return SHELL + b"q\x01)\x81}" + text("_modules") + b"}sb" + layer * 30


NOTHING = "no weights found"
MANY_TIMES = "declares many times more data than it has"
PICKLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "numbers of one hash": (lambda: b"}(" + each(lambda i: number(MODULUS * i) + b"N") + b"u", NOTHING),
    "numbers of one hash, one by one": (lambda: b"}" + each(lambda i: number(MODULUS * i) + b"Ns"), NOTHING),
    "a dict of them": (lambda: b"(" + each(lambda i: number(MODULUS * i) + b"N") + b"d", NOTHING),
    "tuples of one hash": (lambda: b"}(" + each(lambda i: number(MODULUS * i) + b"\x85N") + b"u", NOTHING),
    "pairs of one hash": (
        lambda: b"ccollections\nOrderedDict\n](" + each(lambda i: b"]" + number(MODULUS * i) + b"aNa") + b"e\x85R",
        NOTHING,
    ),
    "a set of them": (lambda: b"\x8f(" + each(lambda i: number(MODULUS * i)) + b"\x90", NOTHING),
    "a frozen set": (lambda: b"(" + each(lambda i: number(MODULUS * i)) + b"\x91", NOTHING),
    "a set of Python 2": (
        lambda: b"c__builtin__\nset\n](" + each(lambda i: number(MODULUS * i)) + b"e\x85R", NOTHING),
    "a key of pairs of pairs": (lambda: b"}" + nested(60) + b"Ns", NOTHING),
    "a key that is deep": (lambda: b"})" + b"\x85" * 100_000 + b"Ns", NOTHING),
    "an item of pairs of pairs": (lambda: SHELL + b")R" + nested(60) + b"Ns", NOTHING),
    "a giant number": (lambda: b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20), "a number of 1048576 bytes"),
    "a number of many digits": (lambda: b"L" + b"7" * 5000 + b"L\n", "a number of 5001 digits"),
    "a length beyond the file": (lambda: b"\x8e" + struct.pack("<Q", 1 << 60), "ends too early"),
    "a giant place in the memo": (lambda: b"Nr\xff\xff\xff\xffp" + b"9" * 5000 + b"\n", NOTHING),
    "what was not kept": (lambda: b"h\x07", "recalls what it did not keep"),
    "classes without end": (lambda: each(lambda i: b"ca\nx%d\n0" % i) + b"N", "names more than 10000 classes"),
    "a long name": (lambda: b"ca\n" + b"x" * 1000 + b"\n", "names what is no class"),
    "encoded many times": (
        lambda: text("a" * 100_000) + b"q\x00" + many(b"c_codecs\nencode\nh\x00" + text("latin1") + b"\x86R", 5000),
        MANY_TIMES,
    ),
    "one content, many arrays": (
        lambda: b"T" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b"q\x00" + FLOAT_DTYPE + b"q\x01"
        + many(ARRAY + b"(K\x01J" + struct.pack("<i", 1 << 18) + b"\x85h\x01\x89h\x00tb", 500), MANY_TIMES),
    "one array, many times": (
        lambda: ARRAY + b"(K\x01J" + struct.pack("<i", 1 << 18) + b"\x85" + FLOAT_DTYPE + b"\x89T"
        + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b"tbq\x00" + many(b"h\x00", 3000),
        "declares 3000 MiB of weights in 1.0 MiB"),
    "one file within, many times": (
        lambda: storage_within() + b"q\x00" + many(b"ctorch.storage\n_load_from_bytes\nh\x00\x85R", 5000), MANY_TIMES),
    "one list, many objects": (
        lambda: b"](" + b"N" * 100_000 + b"e\x85q\x00" + SHELL + b"q\x01" + many(b"h\x01h\x00R", 5000), MANY_TIMES),
    "one state, many objects": (
        lambda: b"}(" + each(lambda i: text(str(i)) + b"N", 10_000) + b"uq\x00" + SHELL + b"q\x01"
        + many(b"h\x01)Rh\x00b", 5000), MANY_TIMES),
    "long names of many things": (lambda: b"}" + text("k" * 380) + many(ARRAY, 100) + b"s", NOTHING),
    "names of trainers": (
        lambda: b"}" + text("arch") + text("A" * 1_000_000) + b"s", NOTHING),
    "a type that is no text": (lambda: b"cnumpy\ndtype\n" + nested(60) + b"K\x00K\x01\x87R", NOTHING),
    "modules in modules": (module_of_itself, "holds more objects than a checkpoint has"),
    "deep lists": (lambda: b"]" * 100_000 + b"a" * 99_999, NOTHING),
    "its own facts": (
        lambda: b"}" + text("fcnrt") + b"}" + text("format") + nested(60) + b"ss",
        "holds more objects than a checkpoint has"),
}  # fmt: skip
TENSORS: dict[str, tuple[bytes, str]] = {
    "numbers repeated": (zipped(b"}" + text("a") + tensor(stored(), 1 << 33) + b"s"), r"declares 32768 MiB of weights"),
    "numbers repeated by many": (
        zipped(b"}(" + each(lambda i: text(f"a{i}") + tensor(stored(), 1 << 27), 50) + b"u"), r"declares 25600 MiB"),
    "longer than its data": (
        zipped(b"}" + text("a") + tensor(stored(), 1 << 33, stride=1) + b"s"), "a tensor that is larger than its data"),
    "longer than nothing": (
        zipped(b"}" + text("a") + tensor(stored(b"K\x00"), 1 << 33, stride=1) + b"s", 0), "larger than its data"),
    "more than can be counted": (zipped(b"}" + text("a") + tensor(stored(), 1 << 40, 1 << 40) + b"s"), "overflow"),
    "of 65 dimensions": (zipped(b"}" + text("a") + tensor(stored(), *[1] * 65) + b"s"), "a has 65 dimensions"),
    "of 5000 dimensions": (zipped(b"}" + text("a") + tensor(stored(), *[1] * 5000) + b"s"), "a tensor without storage"),
    "a tensor for its size": (
        zipped(b"}" + text("a") + VIEW + b"(" + stored() + b"K\x00" + tensor(stored(), 1 << 40) + b")\x89}tRs"),
        "a tensor without storage or shape"),
    "a key of pairs of pairs": (zipped(stored(key=nested(60))), "refers to data in an unknown way"),
    "gigabytes announced": (legacy(stored(number(1 << 36)) , b"]" + text("0") + b"a"), MANY_TIMES),
    "megabytes announced by many": (
        legacy(b"](" + each(lambda i: stored(number(1 << 22), text(str(i))), 100) + b"e"), MANY_TIMES),
}  # fmt: skip


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ExportError) as caught:
        load_checkpoint(path, trust_pickle=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value)


@pytest.mark.parametrize("name", PICKLES)
def test_pickles(name: str, tmp_path: Path) -> None:
    body, expected = PICKLES[name]
    assert expected in refusal(tmp_path / "net.pth", PROTO + body() + b".")


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str, tmp_path: Path) -> None:
    content, expected = TENSORS[name]
    assert expected in refusal(tmp_path / "net.pth", content)


def test_steps_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert budget.MAX_STEPS > 10**6
    monkeypatch.setattr(budget.Budget, "__init__", lambda self, nbytes: vars(self).update(nbytes=nbytes, steps=1000))
    assert "takes more than" in refusal(tmp_path / "net.pth", PROTO + b"N0" * 1000 + b"N.")


def of_records(names: list[str], method: int = zipfile.ZIP_STORED) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(name, PROTO + b"N." if name.endswith("pkl") else bytes(100))
    return bytearray(file.getvalue())


def encrypted() -> bytes:
    data = of_records(["net/data.pkl"])
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(start) + flags] |= 1
    return bytes(data)


def overlapping() -> bytes:
    data = of_records(["net/data.pkl", "net/data/0", "net/data/1"])
    last = data.rindex(b"PK\x01\x02")
    data[last + 42 : last + 46] = struct.pack("<I", data.index(b"PK\x03\x04", 4) + 10)
    return bytes(data)


def tar(size: int, count: int) -> bytes:
    member = tarfile.TarInfo("net.pth")
    member.size = size
    return member.tobuf() * count


def headers_that_take_long() -> bytes:
    """An extended header over which Python's reader, as of 3.11.7, takes minutes."""
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 2_000_000
    return member.tobuf() + b"hdrcharset" + b"1" * member.size + bytes(10_240)


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted": (encrypted, "an encrypted archive; unpack it with its password"),
    "packed otherwise": (lambda: bytes(of_records(["net/data.pkl"], zipfile.ZIP_LZMA)), "packed by an unusual method"),
    "records in each other": (overlapping, "records in it share a name or a place"),
    "tar.gz": (lambda: gzip.compress(tar(1 << 34, 1) + bytes(100 << 20), 1), "unpacks to more than"),
    "tar.bz2": (lambda: bz2.compress(tar(1 << 34, 1) + bytes(65 << 20), 9), "unpacks to more than"),
    "tar of many": (lambda: gzip.compress(tar(0, 11_000), 1), "an archive of more than 10000 files"),
    "tar with a long header": (headers_that_take_long, "not a checkpoint"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(name: str, tmp_path: Path) -> None:
    content, expected = ARCHIVES[name]
    assert expected in refusal(tmp_path / "net.pth", content())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_records_of_one_name(tmp_path: Path) -> None:
    data = bytes(of_records(["net/data.pkl", "net/data.pkl"]))
    assert "records in it share a name or a place" in refusal(tmp_path / "net.pth", data)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_no_weights(tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"a": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, content)
    assert NOTHING in refusal(tmp_path / "net.pth", content.getvalue())


def test_packed_records_are_unpacked(tmp_path: Path) -> None:
    plain, packed = io.BytesIO(), tmp_path / "net.pth"
    state = {"a": torch.arange(900.0).view(30, 30), "b": torch.arange(30.0)}
    torch.save(state, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for record in source.namelist():
            target.writestr(record, source.read(record))
    loaded = load_checkpoint(packed).state
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


VALUES: dict[str, Any] = {
    "plain": {"a": [1, -2, 1 << 70, 1.5, None, True, "é\U0001f600", b"\x00\xff", (), (1,), (1, 2, 3), (1, 2, 3, 4)]},
    "dicts": {"a": {1: {"b": [{"c": 2}]}, -5: "x"}, "sets": {1, 2, "x"}, "frozen": frozenset([1])},
    "long": {"a": list(range(3000)), "b": {str(key): key for key in range(3000)}, "text": "x" * 70_000},
    "bytes": {"a": bytearray(b"abc"), "b": b"y" * 300},
    "shared": (lambda part: {"a": part, "b": [part, part]})([1, 2]),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", VALUES)
def test_plain_values_are_read_as_python_reads_them(name: str, protocol: int) -> None:
    data = pickle.dumps(VALUES[name], protocol)
    if name == "bytes" and protocol < 5:
        pytest.skip("Python writes a bytearray as a call")
    if protocol < 4 and name == "dicts":
        data = pickle.dumps({"a": VALUES[name]["a"], "sets": VALUES[name]["sets"]}, protocol)
    assert Machine(io.BytesIO(data), Budget(1 << 20)).load() == pickle.loads(data)


def test_python_2_text_in_quotes() -> None:
    data = b"(dp0\nS'a\\x00\\xff\\n'\np1\nI5\nsS\"it's\"\np2\nL7L\ns."
    expected = {"a\x00\xff\n": 5, "it's": 7}
    assert Machine(io.BytesIO(data), Budget(100)).load() == expected == pickle.loads(data, encoding="latin1")


def test_every_opcode_of_pickles_is_known_or_refused_on_purpose() -> None:
    opcodes = {bytes(value) for name, value in vars(pickle).items() if name.isupper() and isinstance(value, bytes)}
    refused = {pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER}
    known = {*machine.VALUES, *machine.ACTIONS, pickle.STOP}
    assert {code for code in opcodes if len(code) == 1} - {pickle.TRUE, pickle.FALSE} == known | refused


def test_arrays_of_other_orders(tmp_path: Path) -> None:
    arrays = {"a": np.asfortranarray(np.arange(12, dtype=">f8").reshape(3, 4)), "b": np.arange(6, dtype="<f2")}
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(arrays, 2))
    loaded = load_checkpoint(tmp_path / "net.pkl").state
    assert all(np.array_equal(loaded[key].numpy(), value) for key, value in arrays.items())
