"""TensorRT's log: kept, so that a failure can name its cause, and printed where the user wants to read it."""

from __future__ import annotations

import functools
import re
import sys
from typing import Any

from fcnrt.errors import one_line

_MARKS = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}
_FAILURES = ("INTERNAL_ERROR", "ERROR")
# Without a driver, TensorRT for RTX repeats this after every error.
_NO_DRIVER_ECHO = "catchCudaError"
_ORIGIN = re.compile(r"^(\d+: )?(\[[^\]]*\] |\w+::\w+: )?(Error Code \d+: )?")
_PLACE = re.compile(r"\s*In \w+ at [^\s):]+:\d+|\[[\w.]+:\d+: \w+\] ")


@functools.cache
def logger_of(trt: Any) -> Any:
    """The one logger of a TensorRT module, with `printed` (bool) and `errors` (list of str).

    One, because TensorRT ignores a second logger while anything that was made with the first still lives.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.printed, self.errors = False, []

        def log(self, severity: Any, text: str) -> None:
            if severity.name in _FAILURES and _NO_DRIVER_ECHO not in text:
                self.errors.append(text)
            if self.printed:
                print(f"[{_MARKS.get(severity.name, '?')}] {text}", file=sys.stderr)

    return Log()


def cause(errors: list[str]) -> str:
    """The first error in one line, without the places in TensorRT's source: those that follow are consequences."""
    if not errors:
        return "it gives no reason"
    text = _PLACE.sub("", _ORIGIN.sub("", " ".join(errors[0].split())))
    more = f", and {len(errors) - 1} more, see --verbose" if len(errors) > 1 else ""
    return one_line(text.strip() + more)
