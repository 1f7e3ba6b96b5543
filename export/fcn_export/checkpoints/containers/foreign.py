"""Files that are no checkpoint of PyTorch, told by how they begin or end, each with what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import ExportError
from .base import NOT_MINE, head

Test = Callable[[Path, bytes], bool]


def _begins(*starts: bytes) -> Test:
    return lambda path, begin: begin.startswith(starts)


def _ends(*suffixes: str) -> Test:
    return lambda path, begin: path.suffix.lower() in suffixes


def _is_page(path: Path, begin: bytes) -> bool:
    return begin.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith((b"<!doctype html", b"<html", b"<head", b"<!--"))


AGAIN = "download the file itself"
OTHERS = "only networks of PyTorch can be exported"
KINDS: tuple[tuple[Test, str], ...] = (
    (lambda path, begin: not begin, "the file is empty; copy or download it again"),
    (
        _is_page,
        "a web page saved under this name, not the file behind it (a login, a warning, or a page about the file); "
        f"open the link in a browser and {AGAIN}",
    ),
    (
        _begins(b"version https://git-lfs.github.com/spec/"),
        f"a Git-LFS pointer, not the file that it points to; run git lfs pull in that repository, or {AGAIN}",
    ),
    (
        _ends(".onnx"),
        "an ONNX file already; fcnrt runs those that to_onnx.py made of a checkpoint, with frames as input and labels "
        "as output (fcnrt info says whether this is one): name the checkpoint that it was made from",
    ),
    (_ends(".engine", ".plan", ".trt"), "an engine, not a checkpoint; fcnrt runs those that build_engine.py made"),
    (_begins(b"\x89HDF\r\n\x1a\n"), f"an HDF5 file, as Keras and Caffe write them; {OTHERS}"),
    (_ends(".caffemodel", ".prototxt"), "a file of Caffe; convert it first, as wkentaro/pytorch-fcn did with its FCNs"),
    (_ends(".tflite", ".pb", ".h5", ".keras", ".pdparams", ".params", ".mat"),
     f"a file of another framework; {OTHERS}"),
    (_begins(b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
     "an archive; unpack it and name the checkpoint in it"),
    (_begins(b"\x89PNG", b"\xff\xd8\xff", b"%PDF", b"GIF8"), f"a picture or a document, not a checkpoint; {AGAIN}"),
)  # fmt: skip


def read(path: Path) -> Any:
    """Refuse a file that is known to be none."""
    begin = head(path)
    for test, text in KINDS:
        if test(path, begin):
            raise ExportError(text)
    return NOT_MINE
