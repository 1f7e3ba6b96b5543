"""The kinds of TensorRT that engines are built with and run by: names, order of versions, the one log."""

from __future__ import annotations

import functools
import re
import sys
from collections import deque
from typing import Any, Literal

from ..errors import one_line, print_line

FlavourName = Literal["tensorrt", "tensorrt-rtx"]
MODULES: dict[FlavourName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
# Runtimes without a builder, a fiftieth of the full TensorRT's size, for its engines that are version-compatible.
LEAN_MODULES = ("tensorrt_lean", "tensorrt_dispatch")

_MARKS = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}
_FAILURES = ("INTERNAL_ERROR", "ERROR")
_KEPT = 64  # errors; a process may run for months
# Without a driver, TensorRT for RTX repeats this after every error.
_NO_DRIVER_ECHO = "catchCudaError"
_ORIGIN = re.compile(r"^(\d+: )?(\[[^\]]*\] |\w+::\w+: )?(Error Code \d+: )?")
_PLACE = re.compile(r"\s*In \w+ at [^\s):]+:\d+|\[[\w.]+:\d+: \w+\] ")


def version_tuple(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: "10.3.0.post1" is (10, 3, 0)."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


@functools.cache
def logger_of(trt: Any) -> Any:
    """The one logger of a TensorRT module, with `printed` (bool) and `errors` (its latest texts, str).

    One, because TensorRT ignores a second logger while anything that was made with the first still lives.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.printed = False
            self.errors: deque[str] = deque(maxlen=_KEPT)

        def log(self, severity: Any, text: str) -> None:
            if severity.name in _FAILURES and _NO_DRIVER_ECHO not in text:
                self.errors.append(text)
            if self.printed:
                print_line(f"[{_MARKS.get(severity.name, '?')}] {text}", sys.stderr)

    return Log()


def cause(error: str) -> str:
    """An error of TensorRT's in one line, without the places in its source."""
    return one_line(_PLACE.sub("", _ORIGIN.sub("", " ".join(error.split()))).strip())
