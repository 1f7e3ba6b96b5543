"""Pickles that mean harm: whatever they name and however they are built, nothing of them is run."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fcn_export.checkpoints.pickles.budget import Budget
from fcn_export.checkpoints.pickles.machine import Machine
from fcn_export.checkpoints.reading import load_checkpoint
from fcn_export.errors import ExportError
from tiny_networks import tiny, upstream_state

STATE = upstream_state(tiny("caffe fcn32s"))


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def attribute_of(owner: bytes, name: str) -> bytes:
    """getattr(owner, name) as opcodes."""
    return b"cbuiltins\ngetattr\n(" + owner + b"X" + len(name).to_bytes(4, "little") + name.encode() + b"tR"


ATTACKS = {
    "os.system": Calls(os.system, "touch PWNED"),
    "subprocess": Calls(subprocess.call, ["touch", "PWNED"]),
    "eval": Calls(eval, "open('PWNED', 'w')"),
    "exec": Calls(exec, "open('PWNED', 'w')"),
    "open": Calls(open, "PWNED", "w"),
    "print": Calls(print, "PWNED"),
    "pickle within": Calls(pickle.loads, pickle.dumps(Calls(os.system, "touch PWNED"))),
    "import": Calls(__import__, "antigravity"),
    "path": Calls(Path.touch, Path("PWNED")),
    "torch.load": Calls(torch.load, "PWNED"),
    "torch.save": Calls(torch.save, {}, "PWNED"),
    "jit": Calls(torch.jit.load, "PWNED"),
    "makedirs": Calls(os.makedirs, "PWNED"),
    "attribute of a builder": Calls(getattr, torch._utils._rebuild_tensor_v2, "__globals__"),
    "chained": Calls(getattr, Calls(getattr, os, "path") if False else str, "format"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a folder that must hold nothing but the attack; the functions that it would call report themselves."""
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    yield
    assert {path.name for path in Path.cwd().iterdir()} <= {"net.pth"}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("place", ["beside", "within", "alone", "plain"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_run(attack: str, place: str, trust: bool, capsys: pytest.CaptureFixture[str]) -> None:
    evil = ATTACKS[attack]
    content = {"beside": {"model": STATE, "x": evil}, "within": {**STATE, "x": [evil]}}.get(place, evil)
    if place == "plain":
        Path("net.pth").write_bytes(pickle.dumps(content))
    else:
        torch.save(content, "net.pth")
    try:
        state = load_checkpoint(Path("net.pth"), trust_pickle=trust).state
        assert all(isinstance(value, torch.Tensor) for value in state.values())
    except ExportError as error:
        assert "\n" not in str(error)
    captured = capsys.readouterr()
    assert "PWNED" not in captured.out + captured.err


@pytest.mark.parametrize("attack", ["os.system", "subprocess", "eval", "exec", "open", "print", "import"])
def test_attacks_are_named(attack: str) -> None:
    torch.save({"model": STATE, "x": ATTACKS[attack]}, "net.pth")
    with pytest.raises(ExportError, match=r"names \S+, which is not among the classes that a pickled FCN may hold"):
        load_checkpoint(Path("net.pth"))


HEAD, TAIL = b"\x80\x02", b"."


@pytest.mark.parametrize(
    "program",
    [
        b"cproject\nA\n}X\x01\x00\x00\x00aK\x01sb",  # state set on a class
        b"cproject\nA\n(}X\x01\x00\x00\x00aK\x01stb",  # attributes set on a class
        b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x04\x00\x00\x00evilK\x01s\x86b",  # attributes set on a builder
        b"ccollections\nOrderedDict\nN}X\x04\x00\x00\x00evilK\x01s\x86b",
        b"ctorch\nfloat32\nN}X\x04\x00\x00\x00evilK\x01s\x86b",  # on a dtype
        b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemscproject\nA\nsb",  # a dict whose items() is a class
        b"cproject\nA\n)R)R",  # a shell called
        b"cproject\nA\n)\x81}X\x0b\x00\x00\x00__setitem__cproject\nA\nsb",
        b"ctorch\nSize\n(cproject\nA\n)RtR",
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8K\x00K\x01tR",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft"
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8K\x00K\x01tR\x89C\x08aaaaaaaatb",  # an array larger than its bytes
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR",
        b"ccopyreg\n_reconstructor\n(cbuiltins\nset\ncbuiltins\nobject\nNtR",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cproject\nf\ncproject\nA\n)NtR",
        b"ctorch.storage\n_load_from_bytes\n(C\x05helloteR",
        b"(" * 100_000,
        b"]" + b"\x85" * 100_000,
        b"Y",
    ],
)  # fmt: skip
def test_odd_programs_end_in_one_line(program: bytes) -> None:
    Path("net.pth").write_bytes(HEAD + program + TAIL)
    before = {name: vars(torch._utils).get(name) for name in ("_rebuild_tensor_v2",)}
    with pytest.raises(ExportError) as caught:
        load_checkpoint(Path("net.pth"), trust_pickle=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not hasattr(OrderedDict, "evil") and not hasattr(torch._utils._rebuild_tensor_v2, "evil")
    assert before == {"_rebuild_tensor_v2": torch._utils._rebuild_tensor_v2}


def test_classes_made_for_one_file_do_not_last() -> None:
    made, again = (Machine(io.BytesIO(HEAD + b"cproject\nA\n" + TAIL), Budget(100)).load() for _ in range(2))
    assert made is not again and "project" not in sys.modules


def test_lists_that_hold_each_other_many_times_take_no_time() -> None:
    nest: list[Any] = [0] * 10
    for _ in range(30):
        nest = [nest] * 10
    torch.save({"model": STATE, "nest": nest}, "net.pth")
    with pytest.raises(ExportError, match="holds more objects than a checkpoint has"):
        load_checkpoint(Path("net.pth"))


def test_readers_call_nothing_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a file names them, the machine's own functions are never reached."""
    reached: list[str] = []
    for name in ("eval", "exec"):
        real = getattr(builtins, name)
        monkeypatch.setattr(
            builtins, name, lambda *a, real=real, name=name, **k: (reached.append(name), real(*a, **k))[1]
        )
    torch.save({"model": STATE, "args": Calls(getattr, str, "upper")}, "net.pth")
    load_checkpoint(Path("net.pth"))
    assert not reached


def test_more_dimensions_than_weights_have_are_one_line(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones([1] * 70)}, tmp_path / "net.pth")
    with pytest.raises(ExportError, match=r"conv\.weight has 70 dimensions; expected weights of at most 8"):
        load_checkpoint(tmp_path / "net.pth")


@pytest.mark.parametrize("record", ["data.pkl", "data/0"])
def test_archives_are_not_unpacked_to_many_times_their_size(record: str, tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(9)}, tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pth") as archive, zipfile.ZipFile(tmp_path / "bomb.pth", "w") as bomb:
        for name in archive.namelist():
            data = bytes(100 << 20) if name.endswith(record) else archive.read(name)
            bomb.writestr(name, data, zipfile.ZIP_DEFLATED)
    with pytest.raises(ExportError, match=r"unpacks to 100 MiB from 0\.1 MiB, which weights do not; is it a"):
        load_checkpoint(tmp_path / "bomb.pth")
