"""What a checkpoint file holds: all its tensors under dotted names, whatever objects they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..errors import ExportError
from .pickles.shells import ArrayShell, Shell

MAX_DEPTH = 40  # of dicts, modules and objects within each other
MAX_OBJECTS = 400_000  # a few lists that hold each other many times over look like more than any memory takes
PLAIN = 16  # numbers that count as one object
MAX_NAME = 400  # letters of a dotted name, and of what trainers call a network
NAME_PART = 64  # letters that count as one object more
MODULE_TABLES = ("_parameters", "_buffers", "_modules")
TOLD = (Tensor, str, Mapping, Shell, list, tuple)  # what may be, hold or tell about weights
PARALLEL = ("DataParallel", "DistributedDataParallel")


@dataclass
class Content:
    """A file's tensors and what else in it may tell about them.

    Attributes:
        tensors: by dotted name, made of the keys, attributes and positions on the way to each.
        tables: for each tensor the prefix, with its last dot, of the dict or object that holds it with its siblings.
        modules: the prefixes of pickled modules, and their classes.
        archs: what trainers call the network, under the key `arch`.
        meta: what mmsegmentation says of the network, in the outermost dict.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    archs: list[str] = field(default_factory=list)
    meta: Mapping[str, Any] = field(default_factory=dict)


def content_of(root: Any) -> Content:
    """Everything in an object that a reader gave.

    Raises:
        ExportError: it holds more objects than any checkpoint does.
    """
    content = Content()
    _Collector(content).visit(root, "", "", 0)
    meta = root.get("meta") if isinstance(root, Mapping) else None
    content.meta = meta if isinstance(meta, Mapping) else {}
    return content


class _Collector:
    def __init__(self, content: Content):
        self._content = content
        self._left = MAX_OBJECTS

    def visit(self, value: Any, name: str, table: str, depth: int, in_object: bool = False) -> None:
        """Take in a value and all that it holds.

        Args:
            name: of the value, dotted.
            table: of what holds the value.
            depth: how many things hold it.
            in_object: whether an object holds it; what objects hold in each other is one table.
        """
        self._take(1 + len(name) // NAME_PART)
        if len(name) > MAX_NAME:
            return
        value = value.tensor() if isinstance(value, ArrayShell) else value
        if isinstance(value, Tensor) and name:
            self._content.tensors[name], self._content.tables[name] = value, table
        elif isinstance(value, str) and name.rpartition(".")[2] == "arch" and len(value) <= MAX_NAME:
            self._content.archs.append(value)
        elif isinstance(value, (Mapping, Shell, list, tuple)) and depth < MAX_DEPTH:
            self._descend(value, f"{name}." if name else "", table, depth, in_object)

    def _descend(self, value: Any, prefix: str, table: str, depth: int, in_object: bool) -> None:
        is_object = isinstance(value, Shell)
        if is_module(value) and type(value).__name__ not in PARALLEL:
            self._content.modules[prefix] = type(value).__name__
        own = table if is_object and in_object else prefix
        children = _children(value)
        self._take(len(children) // PLAIN)
        for key, child in children.items():
            if isinstance(child, TOLD):
                self.visit(child, f"{prefix}{key}", own, depth + 1, is_object)

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ExportError("holds more objects than a checkpoint has; is it one?")


def is_module(value: Any) -> bool:
    """Whether something is a pickled torch module."""
    return isinstance(value, Shell) and isinstance(value.state.get("_modules"), Mapping)


def _children(value: Any) -> dict[str | int, Any]:
    if is_module(value):
        return _state_of_module(value.state)
    if isinstance(value, Shell):
        return value.contents()
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {key: child for key, child in pairs if isinstance(key, (str, int))}


def _state_of_module(attributes: Mapping[str, Any]) -> dict[str | int, Any]:
    """What its state dict holds: parameters, lasting buffers, and modules."""
    fleeting = attributes.get("_non_persistent_buffers_set", ())
    found: dict[str | int, Any] = {}
    for table in MODULE_TABLES:
        children = attributes.get(table)
        found |= _children(children) if isinstance(children, Mapping) else {}
    return {key: child for key, child in found.items() if not isinstance(fleeting, set) or key not in fleeting}
