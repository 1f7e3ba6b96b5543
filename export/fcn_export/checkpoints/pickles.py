"""Whole-module pickles, read without running any of their code.

A module saved by `torch.save(model)` names classes. Here torch's layers, torchvision's models and the listed FCN
classes become inert shells that only keep attributes; tensors are rebuilt by torch; any other name is refused.
"""

from __future__ import annotations

import collections
import pickle
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import ExportError

MAX_DEPTH = 8  # of DataParallel within DataParallel; more is a cycle
FCN_CLASSES = {"FCN32s", "FCN16s", "FCN8s", "FCN8sAtOnce", "FCNs", "VGGNet", "FCN"}
FCN_MODULES = ("fcn", "torchfcn.models", "core.models.fcn", "core.models.fcnv2", "models")
LAYER_MODULES = ("torch.nn.modules.", "torch.nn.parallel.", "torchvision.models.")


def _sealed(build: Callable[..., Any]) -> Any:
    """Something that calls `build` and has no attributes that a pickle could set."""

    class Builder:
        __slots__ = ()

        def __call__(self, *args: Any) -> Any:
            return build(*args)

    return Builder()


# Reconstructors of tensors and plain containers: they build data and call nothing they are given.
BUILDERS = {
    ("collections", "OrderedDict"): _sealed(collections.OrderedDict),
    ("torch._utils", "_rebuild_tensor"): _sealed(torch._utils._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _sealed(torch._utils._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): _sealed(torch._utils._rebuild_parameter),
    ("torch", "device"): _sealed(torch.device),
    ("torch", "Size"): _sealed(torch.Size),
    ("builtins", "set"): _sealed(set),
    ("__builtin__", "set"): _sealed(set),
}


class Shell:
    """Stands in for a pickled module: keeps the attributes, runs nothing."""

    def __init__(self, *args: object, **kwargs: object):
        pass

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in BUILDERS:
            return BUILDERS[module, name]
        listed = name in FCN_CLASSES and module.startswith(FCN_MODULES)
        if listed or module.startswith(LAYER_MODULES):
            return type(name, (Shell,), {})
        raise ExportError(f"names {module}.{name}, which is not among the classes that a pickled FCN may hold")

    def __setattr__(self, name: str, value: Any) -> None:
        # torch.load sets its reader of storages here
        super().__setattr__(name, _without_sources(value) if name == "persistent_load" else value)


def _without_sources(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """torch's reader of storages, kept from comparing, and writing out, the source code of classes in old files."""

    def load_class_or_storage(saved: Any) -> Any:
        return saved[1] if saved[0] == "module" else load(saved)

    return load_class_or_storage


def load_module_pickle(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Read a pickled module without running its code.

    Returns:
        Its state dict, and the name of its class (inside any DataParallel).

    Raises:
        ExportError: the pickle names a class that is not admitted, or holds no module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on old formats
        root = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_pickle_module())
    for _ in range(MAX_DEPTH):
        if type(root).__name__ in ("DataParallel", "DistributedDataParallel"):
            root = root._modules["module"]
    if not isinstance(root, Shell):
        raise ExportError("holds no module and no weights")
    return dict(_walk(root, "")), type(root).__name__


def _pickle_module() -> types.ModuleType:
    """What torch.load wants in place of `pickle`: our unpickler under the names it looks up."""
    module = types.ModuleType("restricted_pickle")
    module.Unpickler = _Unpickler  # type: ignore[attr-defined]
    module.load = lambda file, **_: _Unpickler(file).load()  # type: ignore[attr-defined]
    return module


def _walk(shell: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    attributes = vars(shell)
    for table in ("_parameters", "_buffers"):
        for name, value in attributes.get(table, {}).items():
            if value is not None:
                yield prefix + name, value.detach()
    for name, child in attributes.get("_modules", {}).items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.")
