"""What stands for the objects of a pickle: shells that keep what it says of them and run nothing."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_KEY = 1 << 63
MAX_RANK = 1000  # of anything that is built; how many dimensions a weight may have is told later, with its name


def is_key(value: object) -> bool:
    """Whether something may be looked up: texts and ordinary whole numbers, all that weights lie under.

    Anything else could be made to collide, or takes for ever to compare: tuples in tuples, numbers of one hash.
    """
    return type(value) is str or (type(value) is int and -MAX_KEY <= value < MAX_KEY)


class Shell:
    """Stands in for an object of any class: keeps what its pickle says, runs nothing.

    Attributes:
        arguments: what its class was called with.
        given: the dicts and pairs among them.
        state: its attributes.
        items: what was set by key, as in subclasses of dict.
        elements: what was appended, as in subclasses of list and set.
    """

    __slots__ = ("arguments", "elements", "given", "items", "state")

    def __init__(self, *arguments: object):
        self.arguments = arguments
        self.given: dict[Any, Any] = {}
        for argument in arguments:
            self.given.update(argument if isinstance(argument, dict) else pairs(argument))
        self.state: dict[str, Any] = {}
        self.items: dict[Any, Any] = {}
        self.elements: list[Any] = []

    def set_state(self, state: object) -> None:
        """What `__setstate__` is given: attributes, and those in slots."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update({key: value for key, value in part.items() if isinstance(key, str)})

    def contents(self) -> dict[Any, Any]:
        """Everything in it by name: what its class was given, attributes, elements, items."""
        return self.given | self.state | dict(enumerate(self.elements)) | self.items


def pairs(argument: object) -> dict[Any, Any]:
    """A list of names and values, as Python 2 makes an OrderedDict from; nothing if it is anything else."""
    found = argument if isinstance(argument, list) else []
    return {pair[0]: pair[1] for pair in found if isinstance(pair, (list, tuple)) and len(pair) == 2
            and is_key(pair[0])}  # fmt: skip


class Table(OrderedDict[Any, Any]):
    """An OrderedDict, whose attributes a pickle may set but for its own."""

    def __init__(self, *arguments: object):
        super().__init__(pairs(arguments[0]) if arguments else {})

    def set_state(self, state: object) -> None:
        """What a trainer set on its state dict."""
        for name, value in state.items() if isinstance(state, dict) else ():
            if isinstance(name, str) and not hasattr(Table, name):
                setattr(self, name, value)


class DtypeShell(Shell):
    """A numpy dtype by its code."""

    __slots__ = ()

    def code(self) -> str:
        """The code with its byte order; "O" where it is not a plain one."""
        name = self.arguments[0] if self.arguments else None
        if not isinstance(name, str) or not name.lstrip("<>|=")[1:].isdecimal():
            return "O"
        order = self.state.get("order", "<")
        return (order if order in "<>" else "<") + name.lstrip("<>|=")

    def set_state(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str) and state[1] in "<>|=":
            self.state["order"] = state[1]


class ArrayShell(Shell):
    """A numpy array: the state that a pickle sets, from which `tensor` makes one of numbers."""

    __slots__ = ("_made",)

    def __init__(self, *arguments: object):
        super().__init__(*arguments)
        self._made: Tensor | None = None

    def set_state(self, state: object) -> None:
        """(version, shape, dtype, whether columns come first, content)."""
        if isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], DtypeShell):
            _, shape, dtype, is_fortran, raw = state
            self._made = array_tensor(raw, dtype.code(), shape_of(shape), "F" if is_fortran is True else "C")

    def tensor(self) -> Tensor | None:
        """The array; None where it holds anything but numbers."""
        return self._made


def array_tensor(raw: object, code: str, shape: object, order: str) -> Tensor | None:
    """Bytes as an array's numbers; None where they are none."""
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote it
    if not isinstance(raw, (bytes, bytearray)) or code.lstrip("<>")[0] not in "fiub":
        return None
    array = np.frombuffer(raw, dtype=code).reshape(shape, order=order)  # type: ignore[call-overload]
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C", copy=True))


def keys_among(values: Iterable[Any]) -> set[Any]:
    """A set of those that may be looked up."""
    return set(filter(is_key, values))


def shape_of(value: object) -> tuple[int, ...]:
    """Sizes, or strides, of a tensor; raises UnpicklingError where they are none."""
    sizes = tuple(value) if isinstance(value, (list, tuple)) and len(value) <= MAX_RANK else (None,)
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise pickle.UnpicklingError("a tensor without storage or shape")
    return sizes  # type: ignore[return-value]
