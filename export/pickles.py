"""Whole-module pickles, read without running any of their code.

A module saved by `torch.save(model)` names classes. Here torch's layers, torchvision's models and the listed FCN
classes become inert shells that only keep attributes; tensors are rebuilt by torch; any other name is refused.
"""

from __future__ import annotations

import collections
import pickle
import types
import warnings
from pathlib import Path
from typing import Any

import torch

from errors import ExportError

# Reconstructors of tensors and plain containers: they build data and call nothing they are given.
BUILDERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "device"): torch.device,
    ("torch", "Size"): torch.Size,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}
STORAGES = ("FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "IntStorage")
FCN_CLASSES = {"FCN32s", "FCN16s", "FCN8s", "FCN8sAtOnce", "FCNs", "VGGNet", "FCN"}
FCN_MODULES = ("fcn", "torchfcn.models", "core.models.fcn", "core.models.fcnv2", "models")
LAYER_MODULES = ("torch.nn.modules.", "torch.nn.parallel.", "torchvision.models.")


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
        if module == "torch" and name in STORAGES:
            return getattr(torch, name)
        listed = name in FCN_CLASSES and module.startswith(FCN_MODULES)
        if listed or module.startswith(LAYER_MODULES):
            return type(name, (Shell,), {})
        raise ExportError(f"names {module}.{name}, which is not among the classes that a pickled FCN may hold")


def load_module_pickle(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Read a pickled module without running its code.

    Returns:
        Its state dict, and the name of its class (inside any DataParallel).

    Raises:
        ExportError: the pickle names a class that is not admitted, or holds no module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch misses the source code of the classes, which is not wanted
        root = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_pickle_module())
    if not isinstance(root, Shell):
        raise ExportError("holds no module and no weights")
    while type(root).__name__ in ("DataParallel", "DistributedDataParallel"):
        root = root._modules["module"]  # type: ignore[attr-defined]
    return dict(_walk(root, "")), type(root).__name__


def _pickle_module() -> types.ModuleType:
    """What torch.load wants in place of `pickle`: our unpickler under the names it looks up."""
    module = types.ModuleType("restricted_pickle")
    module.Unpickler = _Unpickler  # type: ignore[attr-defined]
    module.load = lambda file, **_: _Unpickler(file).load()  # type: ignore[attr-defined]
    return module


def _walk(shell: Any, prefix: str) -> Any:
    attributes = vars(shell)
    for table in ("_parameters", "_buffers"):
        for name, value in attributes.get(table, {}).items():
            if value is not None:
                yield prefix + name, value.detach()
    for name, child in attributes.get("_modules", {}).items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.")
