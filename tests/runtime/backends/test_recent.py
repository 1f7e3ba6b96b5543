"""The small cache of what was used last."""

from __future__ import annotations

import pytest

from fcnrt.backends.recent import Recent


def made(recent: Recent[str], *keys: str) -> None:
    for key in keys:
        recent.get(key, key.upper)


def kept(recent: Recent[str]) -> list[str]:
    return list(recent._things)


def test_things_are_made_once() -> None:
    recent: Recent[list[int]] = Recent(2)
    first = recent.get("a", list)
    assert recent.get("a", list) is first and recent.find("a") is first
    assert len(recent) == 1


def test_what_is_not_kept_is_none() -> None:
    recent: Recent[str] = Recent(2)
    assert recent.find("a") is None and len(recent) == 0
    made(recent, "a")
    assert recent.find("b") is None and kept(recent) == ["a"]


def test_the_longest_unused_is_forgotten_first() -> None:
    recent: Recent[str] = Recent(3)
    made(recent, "a", "b", "c", "d")
    assert kept(recent) == ["b", "c", "d"]
    made(recent, "b", "e")
    assert kept(recent) == ["d", "b", "e"]
    assert recent.find("d") == "D"
    made(recent, "f")
    assert kept(recent) == ["e", "d", "f"]


def test_keep_returns_the_thing_and_counts_it_as_used() -> None:
    recent: Recent[str] = Recent(2)
    assert recent.keep("a", "A") == "A"
    recent.keep("b", "B")
    recent.keep("c", "C")
    assert kept(recent) == ["b", "c"]


def test_a_thing_that_cannot_be_made_leaves_all_as_it_was() -> None:
    def fail() -> str:
        raise MemoryError

    recent: Recent[str] = Recent(2)
    made(recent, "a", "b")
    with pytest.raises(MemoryError):
        recent.get("c", fail)
    assert kept(recent) == ["a", "b"]


def test_before_forgetting_all_are_still_whole() -> None:
    seen: list[tuple[str, list[str]]] = []
    recent: Recent[str] = Recent(2, before_forgetting=lambda thing: seen.append((thing, kept(recent))))
    made(recent, "a", "b")
    assert seen == []
    made(recent, "c")
    assert seen == [("A", ["a", "b"])]
    made(recent, "c", "b")
    assert len(seen) == 1
    recent.clear()  # at the end of all use: whoever clears has waited
    assert len(seen) == 1 and len(recent) == 0


def test_nothing_is_forgotten_where_that_may_not_be() -> None:
    def refuse(thing: str) -> None:
        raise RuntimeError("the stream is broken")

    recent: Recent[str] = Recent(2, before_forgetting=refuse)
    made(recent, "a", "b")
    with pytest.raises(RuntimeError, match="the stream is broken"):
        made(recent, "c")
    assert kept(recent) == ["a", "b"]


def test_forgotten_things_are_let_go() -> None:
    class Thing:
        alive = 0

        def __init__(self) -> None:
            Thing.alive += 1

        def __del__(self) -> None:
            Thing.alive -= 1

    recent: Recent[Thing] = Recent(3)
    for key in range(9):
        recent.get(key, Thing)
    assert Thing.alive == 3
    recent.clear()
    assert Thing.alive == 0


def test_keys_are_compared_as_a_whole() -> None:
    recent: Recent[str] = Recent(8)
    recent.keep(((1, 2), 3), "a")
    recent.keep((1, (2, 3)), "b")
    assert recent.find(((1, 2), 3)) == "a" and recent.find((1, (2, 3))) == "b" and recent.find((1, 2, 3)) is None
