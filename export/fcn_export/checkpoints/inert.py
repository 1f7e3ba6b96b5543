"""Pickles read without running any of their code.

A pickle names callables and has them called. Here tensors, arrays and plain containers are rebuilt by the functions
listed below, which build data and call nothing that they are given; any other name becomes a class of inert shells that
only keep what the pickle says of them. Names that no checkpoint needs, and an attack does, are refused.
"""

from __future__ import annotations

import collections
import io
import pickle
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ExportError

# Modules that act on the machine, and functions that run text: a pickle that names one means harm.
ACTING = {"os", "posix", "nt", "subprocess", "commands", "sys", "shutil", "socket", "ctypes", "importlib", "runpy",
          "pty", "pdb", "timeit", "webbrowser", "multiprocessing", "urllib.request", "tempfile", "pickle", "_pickle",
          "pkgutil", "zipimport", "io", "_io"}  # fmt: skip
RUNNING = {"eval", "exec", "execfile", "compile", "open", "print", "input", "raw_input", "breakpoint", "__import__",
           "exit", "quit", "globals", "locals", "vars", "setattr", "delattr"}  # fmt: skip


class Shell:
    """Stands in for an object of any class: keeps what its pickle says, runs nothing.

    Attributes:
        arguments: what its class was called with.
        items: what was set by key, as in subclasses of dict.
        elements: what was appended, as in subclasses of list and set.
    """

    __slots__ = ("__dict__", "arguments", "elements", "items")

    def __new__(cls, *arguments: object, **_: object) -> Shell:
        shell = object.__new__(cls)
        shell.arguments, shell.items, shell.elements = arguments, {}, []
        return shell

    def __init__(self, *arguments: object, **_: object):
        pass

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update({key: value for key, value in part.items() if isinstance(key, str)})

    def __setitem__(self, key: object, value: object) -> None:
        if isinstance(key, (str, int)):
            self.items[key] = value

    def append(self, value: object) -> None:
        self.elements.append(value)

    add = append

    def extend(self, values: list[object]) -> None:
        self.elements.extend(values)

    def contents(self) -> dict[str | int, Any]:
        """Everything in it by name: attributes, elements, items, and the dicts and pairs that its class was given."""
        given: dict[str | int, Any] = {}
        for argument in self.arguments:
            given.update(argument if isinstance(argument, dict) else _pairs(argument))
        return given | vars(self) | dict(enumerate(self.elements)) | self.items


def _pairs(argument: object) -> dict[str | int, Any]:
    """A list of names and values, as Python 2 makes an OrderedDict from; nothing if it is anything else."""
    pairs = argument if isinstance(argument, list) else []
    return {pair[0]: pair[1] for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2
            and isinstance(pair[0], (str, int))}  # fmt: skip


class ArrayShell(Shell):
    """A numpy array: the state that a pickle sets, from which `tensor` makes one of numbers."""

    def tensor(self) -> Tensor | None:
        """The array, copied; None where it holds anything but numbers."""
        state = vars(self).get("state", ())
        if len(state) != 5 or not isinstance(state[2], DtypeShell):
            return None
        _, shape, dtype, is_fortran, raw = state
        return _array_tensor(raw, dtype.code(), shape, "F" if is_fortran else "C")

    def __setstate__(self, state: object) -> None:
        vars(self)["state"] = state if isinstance(state, tuple) else ()


class DtypeShell(Shell):
    """A numpy dtype by its code."""

    def code(self) -> str:
        name, order = str(self.arguments[0]), vars(self).get("order", "<")
        return (order if order in "<>" else "<") + name.lstrip("<>|=")

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str) and state[1] in "<>|=":
            vars(self)["order"] = state[1]


def _array_tensor(raw: object, code: str, shape: object, order: str) -> Tensor | None:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote it
    if not isinstance(raw, (bytes, bytearray)) or np.dtype(code).kind not in "fiub":
        return None
    array = np.frombuffer(raw, dtype=code).reshape(shape, order=order)  # type: ignore[call-overload]
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C", copy=True))


def _sealed(build: Callable[..., Any]) -> Any:
    """Something that calls `build` and has no attributes that a pickle could set."""

    class Builder:
        __slots__ = ()

        def __call__(self, *arguments: Any) -> Any:
            return build(*arguments)

    return Builder()


def _reconstructed(kind: Any, base: Any = None, content: Any = None) -> Shell:
    """copyreg._reconstructor: an object of a Python class, which may derive from a dict or a list."""
    if not (isinstance(kind, type) and issubclass(kind, Shell)):
        raise pickle.UnpicklingError("rebuilds what is no class")
    return kind(content)


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """_codecs.encode, by which Python 3 writes bytes for Python 2 to read."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encodes bytes as {encoding!r}")
    return str(text).encode("latin1")


def _rebuilt_subclass(build: Any, kind: Any, arguments: tuple[Any, ...], state: Any = None) -> Any:
    """torch._tensor._rebuild_from_type_v2, for tensors with attributes: the tensor alone."""
    if type(build) not in map(type, BUILDERS.values()):
        raise pickle.UnpicklingError("rebuilds a tensor by a function that is no tensor's")
    return build(*arguments)


def _stored(raw: bytes) -> Any:
    """torch.storage._load_from_bytes, by which plain pickles hold storages."""
    return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)


# Reconstructors of tensors and plain containers: they build data and call nothing they are given.
BUILDERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _sealed(collections.OrderedDict),
    ("torch._utils", "_rebuild_tensor"): _sealed(torch._utils._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _sealed(torch._utils._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): _sealed(torch._utils._rebuild_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): _sealed(lambda data, *_: data),
    ("torch._utils", "_rebuild_parameter_with_state"): _sealed(lambda data, *_: data),
    ("torch._utils", "_rebuild_sparse_tensor"): _sealed(torch._utils._rebuild_sparse_tensor),
    ("torch._tensor", "_rebuild_from_type_v2"): _sealed(_rebuilt_subclass),
    ("torch.nn.parameter", "Parameter"): _sealed(lambda data=None, *_: data),  # as torch 0.4 wrote it
    ("torch.nn.parameter", "Buffer"): _sealed(lambda data=None, *_: data),
    ("torch.storage", "_load_from_bytes"): _sealed(_stored),
    ("torch", "device"): _sealed(torch.device),
    ("torch", "Size"): _sealed(torch.Size),
    ("torch.serialization", "_get_layout"): _sealed(lambda name: {"torch.sparse_coo": torch.sparse_coo}.get(name)),
    ("builtins", "set"): _sealed(set),
    ("__builtin__", "set"): _sealed(set),
    ("_codecs", "encode"): _sealed(_encoded),
    ("copy_reg", "_reconstructor"): _sealed(_reconstructed),
    ("copyreg", "_reconstructor"): _sealed(_reconstructed),
}
for _numpy in ("numpy.core", "numpy._core"):
    BUILDERS[f"{_numpy}.multiarray", "_reconstruct"] = _sealed(lambda *_: ArrayShell())
    BUILDERS[f"{_numpy}.numeric", "_frombuffer"] = _sealed(
        lambda raw, dtype, shape, order: _array_tensor(bytes(raw), dtype.code(), shape, order)
    )


class Unpickler(pickle.Unpickler):
    """Reads one pickle into dicts, lists, tensors and shells.

    Raises (from `load`):
        ExportError: the pickle names what no checkpoint needs.
        Exception: nearly any, on damaged or hostile pickles.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in BUILDERS:
            return BUILDERS[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) == ("numpy", "dtype"):
            return type("dtype", (DtypeShell,), {})
        in_builtins = module in ("builtins", "__builtin__") and name in RUNNING
        if in_builtins or module in ACTING:
            raise ExportError(
                f"names {module}.{name}, which is not among the classes that a pickled FCN may hold: "
                "not a checkpoint, or one that means harm"
            )
        return type(name, (Shell,), {"__module__": module})

    def __setattr__(self, name: str, value: Any) -> None:
        # torch.load sets its reader of storages here
        super().__setattr__(name, _without_sources(value) if name == "persistent_load" else value)


def _without_sources(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """torch's reader of storages, kept from comparing, and writing out, the source code of classes in old files."""

    def load_class_or_storage(saved: Any) -> Any:
        if saved[0] == "module":
            return saved[1]
        if getattr(saved[1], "__name__", "") == "UntypedStorage":  # torch compares the class
            saved = (saved[0], torch.UntypedStorage, *saved[2:])
        return load(saved)

    return load_class_or_storage


def pickle_module() -> types.ModuleType:
    """What torch.load wants in place of `pickle`: our unpickler under the names it looks up."""
    module = types.ModuleType("inert_pickle")
    module.Unpickler = Unpickler  # type: ignore[attr-defined]
    module.load = lambda file, **options: Unpickler(file, **options).load()  # type: ignore[attr-defined]
    return module
