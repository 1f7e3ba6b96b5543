"""The interpreter of pickles. It makes the containers itself and calls builders and classes of shells, nothing else.

Unlike Python's own it lets nothing be a key but what cannot be made to collide, and counts steps and copies.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

from ...errors import ExportError
from .arguments import VALUES, Source
from .budget import Budget
from .builders import STORED, Builder, is_shell_class, named
from .shells import Shell, Table, is_key, keys_among

MAX_CLASSES, MAX_NAME = 10_000, 500  # that a file names, and letters of a name
OBJECT_STEPS = 10  # a shell takes as much memory as ten plain values
Persistent = Callable[[Any], Any]


def nothing_kept(saved: Any) -> Any:
    """For pickles beside which no storages lie."""
    raise pickle.UnpicklingError("refers to data beside it, and there is none")


class Machine:
    """Reads the pickles of a file, one after another.

    Args:
        file: that is read from where it stands to the end of each pickle.
        budget: what reading may cost, together with all else of the same file.
        persistent: gives what lies beside the pickle, by what the pickle says of it.
        stored: reads a file within the pickle, which holds one storage.
    """

    def __init__(
        self,
        file: BinaryIO,
        budget: Budget,
        persistent: Persistent = nothing_kept,
        stored: Callable[[bytes, Budget], Any] | None = None,
    ):
        self._source, self._budget, self._persistent, self._stored = Source(file), budget, persistent, stored
        self._names: dict[tuple[str, str], Any] = {}
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The next pickle, as dicts, lists, tensors and shells.

        Raises:
            ExportError: it names what no checkpoint needs, or costs more than its size allows.
            Exception: nearly any, on damaged or hostile pickles.
        """
        self._stack, self._marks, self._memo = [], [], {}
        while (opcode := self._source.take(1)) != pickle.STOP:
            self._budget.take_steps(1)
            if value := VALUES.get(opcode):
                self._stack.append(value(self._source))
            elif action := ACTIONS.get(opcode):
                action(self)
            else:
                raise pickle.UnpicklingError(f"has the opcode {opcode!r}, which no checkpoint needs")
        return self._stack.pop()

    def skip(self, count: int) -> None:
        """Pass over what only matters to other readers."""
        self._source.take(count)

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        """What was pushed since the last mark."""
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def pop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def twice(self) -> None:
        self._stack.append(self._stack[-1])

    def push(self, make: Callable[[list[Any]], Any], count: int | None = None) -> None:
        """Put a container in place of what it holds: the last few, or all since the mark."""
        values = self.since_mark() if count is None else self.take(count)
        self._stack.append(make(values))

    def take(self, count: int) -> list[Any]:
        """The last few values, taken away."""
        if len(self._stack) < count:
            raise pickle.UnpicklingError("takes more than it has")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def keep(self, place: int | None = None) -> None:
        """Remember the last value; its number is only a name, however large."""
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def recall(self, place: int) -> None:
        if place not in self._memo:
            raise pickle.UnpicklingError("recalls what it did not keep")
        self._stack.append(self._memo[place])

    def kept_as(self, width: int) -> int:
        """The number in the memo that follows: of so many bytes, 0 for a line of digits."""
        return self._source.unsigned(width) if width else int(self._source.line()[:20])

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target |= keys_among(values)
        elif isinstance(target, Shell):
            target.elements.extend(values)
        else:
            raise pickle.UnpicklingError("appends to what is no list")

    def set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        items = target.items if isinstance(target, Shell) else target
        if not isinstance(items, dict):
            raise pickle.UnpicklingError("sets an item of what is no dict")
        items.update(as_dict(values))

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str) and len(module) + len(name) <= MAX_NAME):
            raise pickle.UnpicklingError("names what is no class")
        if (module, name) not in self._names:
            if len(self._names) == MAX_CLASSES:
                raise ExportError(f"names more than {MAX_CLASSES} classes, which no checkpoint does; is it one?")
            self._names[module, name] = Builder(self._within) if (module, name) == STORED else named(module, name)
        self._stack.append(self._names[module, name])

    def name_lines(self) -> tuple[str, str]:
        return self._source.text_line(), self._source.text_line()

    def _within(self, raw: Any) -> Any:
        if self._stored is None or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("holds files within files")
        return self._stored(raw, self._budget)

    def call(self, kind: Any, arguments: Any) -> None:
        """Build something, or make a shell."""
        if not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("calls something with what are no arguments")
        self._budget.take_copy(arguments)
        if isinstance(kind, Builder):
            self._stack.append(kind.build(*arguments))
        elif is_shell_class(kind):
            self._budget.take_steps(OBJECT_STEPS)
            self._stack.append(kind(*arguments))
        else:
            raise pickle.UnpicklingError("calls what is no class")

    def build(self) -> None:
        """Give the last value its state; a tensor's own is all that it needs."""
        target, state = self.take(2)
        self._budget.take_copy(state)
        if isinstance(target, (Shell, Table)):
            target.set_state(state)
        elif isinstance(target, (type, Builder)):
            raise pickle.UnpicklingError("sets attributes of a class")
        self._stack.append(target)

    def lying_beside(self, saved: Any) -> None:
        self._stack.append(self._persistent(saved))


def as_dict(values: list[Any]) -> dict[Any, Any]:
    """Keys and values in turns, without those whose keys are no names."""
    if len(values) % 2:
        raise pickle.UnpicklingError("a key without a value")
    return {key: value for key, value in zip(values[::2], values[1::2], strict=True) if is_key(key)}


def _instance(machine: Machine) -> None:
    machine.name(*machine.name_lines())
    (kind,) = machine.take(1)
    machine.call(kind, tuple(machine.since_mark()))


def _object(machine: Machine) -> None:
    kind, *arguments = machine.since_mark()
    machine.call(kind, tuple(arguments))


ACTIONS: dict[bytes, Callable[[Machine], None]] = {
    pickle.PROTO: lambda machine: machine.skip(1),
    pickle.FRAME: lambda machine: machine.skip(8),
    pickle.MARK: Machine.mark,
    pickle.POP: Machine.pop,
    pickle.POP_MARK: lambda machine: machine.since_mark().clear(),
    pickle.DUP: Machine.twice,
    pickle.TUPLE: lambda machine: machine.push(tuple),
    pickle.TUPLE1: lambda machine: machine.push(tuple, 1),
    pickle.TUPLE2: lambda machine: machine.push(tuple, 2),
    pickle.TUPLE3: lambda machine: machine.push(tuple, 3),
    pickle.LIST: lambda machine: machine.push(list),
    pickle.DICT: lambda machine: machine.push(as_dict),
    pickle.FROZENSET: lambda machine: machine.push(keys_among),
    pickle.APPEND: lambda machine: machine.append(machine.take(1)),
    pickle.APPENDS: lambda machine: machine.append(machine.since_mark()),
    pickle.ADDITEMS: lambda machine: machine.append(machine.since_mark()),
    pickle.SETITEM: lambda machine: machine.set_items(machine.take(2)),
    pickle.SETITEMS: lambda machine: machine.set_items(machine.since_mark()),
    pickle.PUT: lambda machine: machine.keep(machine.kept_as(0)),
    pickle.BINPUT: lambda machine: machine.keep(machine.kept_as(1)),
    pickle.LONG_BINPUT: lambda machine: machine.keep(machine.kept_as(4)),
    pickle.MEMOIZE: lambda machine: machine.keep(),
    pickle.GET: lambda machine: machine.recall(machine.kept_as(0)),
    pickle.BINGET: lambda machine: machine.recall(machine.kept_as(1)),
    pickle.LONG_BINGET: lambda machine: machine.recall(machine.kept_as(4)),
    pickle.GLOBAL: lambda machine: machine.name(*machine.name_lines()),
    pickle.STACK_GLOBAL: lambda machine: machine.name(*machine.take(2)),
    pickle.REDUCE: lambda machine: machine.call(*machine.take(2)),
    pickle.NEWOBJ: lambda machine: machine.call(*machine.take(2)),
    pickle.NEWOBJ_EX: lambda machine: machine.call(*machine.take(3)[:2]),
    pickle.INST: _instance,
    pickle.OBJ: _object,
    pickle.BUILD: Machine.build,
    pickle.BINPERSID: lambda machine: machine.lying_beside(*machine.take(1)),
}
