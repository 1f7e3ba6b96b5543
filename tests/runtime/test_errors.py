"""Texts of errors: one line, whatever the names and libraries in them say."""

from __future__ import annotations

import pytest

from fcnrt.errors import LONGEST, FcnrtError, MediaError, MissingDependency, ModelFileError, first_line, needs, one_line


@pytest.mark.parametrize("kind", [FcnrtError, ModelFileError, MediaError, MissingDependency])
def test_control_characters_are_shown_escaped(kind: type[FcnrtError]) -> None:
    error = kind("a\nb\x1b[31m\u202ec: größer, 表")
    assert str(error) == r"a\nb\x1b[31m\u202ec: größer, 表"


def test_a_text_is_escaped_once() -> None:
    assert one_line(FcnrtError("a\tb")) == one_line("a\tb") == r"a\tb"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("\n\n  what\nwhere", "what"), ("", "ValueError"), ("\n ", "ValueError"), ("a\x1b[0m", r"a\x1b[0m")],
)
def test_the_first_line_is_the_first_that_says_something(text: str, expected: str) -> None:
    assert first_line(ValueError(text)) == expected


def test_a_first_line_is_not_a_book() -> None:
    assert len(first_line(ValueError("x" * 10_000))) == LONGEST


def test_a_missing_package_is_named_with_its_extra() -> None:
    expected = r"frob is needed for this: .* -m pip install .*\[ort\]'? \(no frob\)"
    with pytest.raises(MissingDependency, match=expected), needs("frob", "fcnrt[ort]"):
        raise ImportError("no frob\nat all")
