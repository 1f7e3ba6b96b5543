"""Everything fcnrt raises on purpose.

    FcnrtError
    ├── ModelFileError      the model file is missing, damaged, foreign, of a newer format, or lacks the parity required
    ├── FrameError          the frames have a wrong shape, dtype or size
    ├── MissingDependency   an optional package is needed for what was asked
    ├── BackendError        the engine below failed; the message carries its own words
    ├── UsageError          a Segmenter was called from two threads at once, or after close()
    └── MediaError          a picture or video could not be read or written

Every message is one line: what is wrong, what was expected, what came, what to do. Names and texts that come from files
may hold control characters and escape sequences: they are shown escaped.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote, urlparse

_MANY_DIGITS = re.compile(r"\d{100,}")
LONGEST = 300  # characters of a library's own words; some quote whole files


class FcnrtError(Exception):
    """Base of all errors that fcnrt raises on purpose."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ModelFileError(FcnrtError, ValueError):
    """The model file is missing, damaged, not made by export/to_onnx.py, newer, or not certified as asked."""


class FrameError(FcnrtError, ValueError):
    """The frames have a wrong shape, dtype or size."""


class MissingDependency(FcnrtError, ImportError):
    """An optional package is needed for what was asked."""


class BackendError(FcnrtError, RuntimeError):
    """The inference engine failed; the message carries its own words."""


class UsageError(FcnrtError, RuntimeError):
    """A Segmenter was called from two threads at once, or after close()."""


class MediaError(FcnrtError, OSError):
    """A picture or video could not be read or written."""


NOT_FINITE = "scores are not finite; a half-precision file may overflow, export with --precision fp32"


def one_line(text: object) -> str:
    """A text, or an error's, as it may be printed: control characters escaped, files and their names may hold any.

    Numbers of hundreds of digits are shortened.
    """
    escaped = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))
    return _MANY_DIGITS.sub(lambda found: f"{found[0][:9]}... ({len(found[0])} digits)", escaped)


def print_line(text: object, file: TextIO | None = None, flush: bool = False) -> None:
    """Print one line that may hold names and texts from files."""
    print(one_line(text), file=file, flush=flush)


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, shortened, or its type where none does."""
    lines = filter(None, map(str.strip, str(error).splitlines()))
    return one_line(next(lines, type(error).__name__)[:LONGEST])


@contextlib.contextmanager
def needs(package: str, install: str = "fcnrt[video]") -> Iterator[None]:
    """Around the import of a package that `install` brings: raises MissingDependency where it fails."""
    try:
        yield
    except ImportError as error:
        advice = pip_install(install)
        raise MissingDependency(f"{package} is needed for this: {advice} ({first_line(error)})") from error


def pip_install(package: str) -> str:
    """The command that installs a package for the Python that runs; it works as it is printed.

    Args:
        package: a requirement, such as "av>=18"; or extras of fcnrt as "fcnrt[video]", which are then taken from where
            fcnrt itself was installed from, be that a clone, a wheel or an index.
    """
    if package.startswith("fcnrt["):
        package = _origin() + package.removeprefix("fcnrt")
    return f"{shlex.quote(short(sys.executable))} -m pip install {shlex.quote(package)}"


def fcnrt_command(words: str) -> str:
    """`fcnrt WORDS` as it works when it is typed: with the folder in front where the shell would not find it."""
    program = Path(sys.executable).with_name("fcnrt")
    if not program.is_file():  # run from the sources
        return f"{shlex.quote(short(sys.executable))} -m fcnrt {words}"
    found = shutil.which("fcnrt") == str(program)
    return f"{'fcnrt' if found else shlex.quote(short(program))} {words}"


def short(path: str | Path) -> str:
    """A path as it is typed from the current folder, where that is above it."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _origin() -> str:
    """The folder or wheel that fcnrt was installed from; its name where that is an index."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import, and seldom needed

    try:
        record = distribution("fcnrt").read_text("direct_url.json")
    except PackageNotFoundError:
        record = None
    if record is None:
        return "fcnrt"
    address = urlparse(json.loads(record)["url"])
    return short(unquote(address.path)) if address.scheme == "file" else "fcnrt"
