"""What the names in a pickle stand for: builders of tensors and plain containers, else inert shells.

Builders build data and call nothing that they are given. Names that no checkpoint needs, and an attack does, are
refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import ExportError
from .shells import ArrayShell, DtypeShell, Shell, Table, array_tensor, keys_among, shape_of

# Modules that act on the machine, and functions that run text: a pickle that names one means harm.
ACTING = {"os", "posix", "nt", "subprocess", "commands", "sys", "shutil", "socket", "ctypes", "importlib", "runpy",
          "pty", "pdb", "timeit", "webbrowser", "multiprocessing", "urllib.request", "tempfile", "pickle", "_pickle",
          "pkgutil", "zipimport", "io", "_io"}  # fmt: skip
RUNNING = {"eval", "exec", "execfile", "compile", "open", "print", "input", "raw_input", "breakpoint", "__import__",
           "exit", "quit", "globals", "locals", "vars", "setattr", "delattr"}  # fmt: skip
BUILTINS = ("builtins", "__builtin__")
DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


class Storage(NamedTuple):
    """The numbers that tensors are views of."""

    data: torch.UntypedStorage
    dtype: torch.dtype


class Builder(NamedTuple):
    """Something that a pickle may call."""

    build: Callable[..., Any]


def named(module: str, name: str) -> Any:
    """What a name stands for: a builder, a dtype, or a class of shells made for it.

    Raises:
        ExportError: no checkpoint needs it, but an attack does.
    """
    if (module, name) in BUILDERS:
        return BUILDERS[module, name]
    if module == "torch" and name in DTYPES:
        return DTYPES[name]
    if (module in BUILTINS and name in RUNNING) or module in ACTING:
        raise ExportError(
            f"names {module}.{name}, which is not among the classes that a pickled FCN may hold: "
            "not a checkpoint, or one that means harm"
        )
    base = DtypeShell if (module, name) == ("numpy", "dtype") else Shell
    return type(name, (base,), {"__slots__": (), "__module__": module})


def _view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    return typed_view(storage, offset, size, stride, storage.dtype if isinstance(storage, Storage) else None)


def typed_view(storage: Any, offset: Any, size: Any, stride: Any, dtype: Any) -> Tensor:
    """A tensor, if all its elements lie in the storage: torch would make a storage that is too small larger."""
    sizes, strides = shape_of(size), shape_of(stride)
    if not isinstance(storage, Storage) or not shape_of((offset,)) or len(sizes) != len(strides):
        raise pickle.UnpicklingError("a tensor without storage or shape")
    last = offset + sum((number - 1) * step for number, step in zip(sizes, strides, strict=True))
    made = torch.empty(0, dtype=dtype)
    if 0 not in sizes and (last + 1) * made.element_size() > storage.data.nbytes():
        raise pickle.UnpicklingError("a tensor that is larger than its data")
    return made.set_(storage.data, offset, sizes, strides)  # type: ignore[call-overload,no-any-return]


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """_codecs.encode, by which Python 3 writes bytes for Python 2 to read."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise pickle.UnpicklingError("encodes what is no text as latin1")
    return text.encode("latin1")


def _reconstructed(kind: Any, base: Any = None, content: Any = None) -> Shell:
    """copyreg._reconstructor: an object of a Python class, which may derive from a dict or a list."""
    if not is_shell_class(kind):
        raise pickle.UnpicklingError("rebuilds what is no class")
    made: Shell = kind(content)
    return made


def is_shell_class(value: object) -> bool:
    """Whether something is a class of shells."""
    return isinstance(value, type) and issubclass(value, Shell)


def _rebuilt_subclass(build: Any, kind: Any, arguments: Any, state: Any = None) -> Any:
    """torch._tensor._rebuild_from_type_v2, for tensors with attributes: the tensor alone."""
    if not isinstance(build, Builder) or not isinstance(arguments, tuple):
        raise pickle.UnpicklingError("rebuilds a tensor by a function that is no tensor's")
    return build.build(*arguments)


def _array(raw: Any, dtype: Any, shape: Any, order: Any) -> Tensor | None:
    if not isinstance(dtype, DtypeShell) or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array without a type")
    return array_tensor(raw, dtype.code(), shape_of(shape), order)


def _first(data: Any = None, *_: Any) -> Any:
    return data


VIEW, FIRST = Builder(_view), Builder(_first)
SET = Builder(lambda values=(): keys_among(values if isinstance(values, (list, tuple, set)) else ()))
SPARSE = Builder(lambda *_: torch.zeros(1).to_sparse())  # which is refused by its name, whatever is in it
RECONSTRUCTOR = Builder(_reconstructed)
STORED = ("torch.storage", "_load_from_bytes")  # by which plain pickles hold storages: files within
BUILDERS: dict[tuple[str, str], Builder] = {
    ("collections", "OrderedDict"): Builder(Table),
    ("torch._utils", "_rebuild_tensor"): VIEW,
    ("torch._utils", "_rebuild_tensor_v2"): VIEW,
    ("torch._utils", "_rebuild_tensor_v3"): Builder(
        lambda storage, offset, size, stride, grad, hooks, dtype, *_: typed_view(storage, offset, size, stride, dtype)
    ),
    ("torch._utils", "_rebuild_parameter"): FIRST,
    ("torch._utils", "_rebuild_parameter_with_state"): FIRST,
    ("torch._utils", "_rebuild_sparse_tensor"): SPARSE,
    ("torch._tensor", "_rebuild_from_type_v2"): Builder(_rebuilt_subclass),
    ("torch.nn.parameter", "Parameter"): FIRST,  # as torch 0.4 wrote it
    ("torch.nn.parameter", "Buffer"): FIRST,
    ("torch", "Size"): Builder(lambda sizes=(): shape_of(sizes)),
    ("builtins", "set"): SET,
    ("__builtin__", "set"): SET,
    ("_codecs", "encode"): Builder(_encoded),
    ("copy_reg", "_reconstructor"): RECONSTRUCTOR,
    ("copyreg", "_reconstructor"): RECONSTRUCTOR,
}
for _numpy in ("numpy.core", "numpy._core"):
    BUILDERS[f"{_numpy}.multiarray", "_reconstruct"] = Builder(lambda *_: ArrayShell())
    BUILDERS[f"{_numpy}.numeric", "_frombuffer"] = Builder(_array)
