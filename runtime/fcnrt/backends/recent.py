"""A small cache of what was used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Recent(Generic[Thing]):
    """Keeps what was used last and forgets the rest.

    Args:
        capacity: how many things are kept.
        before_forgetting: called with a thing that makes room for another, while it is still whole.
    """

    def __init__(self, capacity: int, before_forgetting: Callable[[Thing], None] = lambda thing: None):
        self._capacity, self._before_forgetting = capacity, before_forgetting
        self._things: OrderedDict[Hashable, Thing] = OrderedDict()

    def __len__(self) -> int:
        return len(self._things)

    def find(self, key: Hashable) -> Thing | None:
        """The thing of a key, if it is kept."""
        if key not in self._things:
            return None
        self._things.move_to_end(key)
        return self._things[key]

    def keep(self, key: Hashable, thing: Thing) -> Thing:
        """Keep a new thing."""
        if len(self._things) == self._capacity:
            self._before_forgetting(next(iter(self._things.values())))
            self._things.popitem(last=False)
        self._things[key] = thing
        return thing

    def get(self, key: Hashable, make: Callable[[], Thing]) -> Thing:
        """The thing of a key, made now if it is not kept."""
        found = self.find(key)
        return self.keep(key, make()) if found is None else found

    def clear(self) -> None:
        """Forget all, at the end of their use."""
        self._things.clear()
