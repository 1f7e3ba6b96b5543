"""How every command line here takes its arguments: a near miss is told what was probably meant."""

from __future__ import annotations

import argparse
import re
import sys
from difflib import get_close_matches
from typing import NoReturn

from ..errors import one_line


class Parser(argparse.ArgumentParser):
    """argparse's, with its docstring kept as it is written, and with suggestions for misspelt options and choices."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """In one line; argparse puts the usage in front, which pushes what is wrong out of sight where it is long."""
        if "arguments are required" in message:
            self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {one_line(message + self._suggestion(message))}\n")

    def _suggestion(self, message: str) -> str:
        unknown = re.search(r"unrecognized arguments: (--[\w-]+)", message)
        if unknown:
            return did_you_mean(unknown[1], self._long_flags())
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        return did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2])) if choice else ""

    def _long_flags(self) -> list[str]:
        """Those of commands too: what a command does not know is refused by the parser above it."""
        below = [
            parser for action in self._actions if isinstance(action.choices, dict) for parser in action.choices.values()
        ]
        return [flag for parser in (self, *below) for flag in parser._option_string_actions if flag.startswith("--")]


def did_you_mean(word: str, known: list[str]) -> str:
    """`; did you mean X?`, or nothing where no known word is near."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
