"""How the simulation reports what no program may do."""

from __future__ import annotations


class Misuse(BaseException):
    """The code under test did what CUDA leaves undefined, or what the house forbids.

    Not an Exception: `except Exception` around an engine's calls must not turn it into an error that a test expects.
    """


class Refused(Exception):
    """A status other than success, by its name without the prefix CUDA_ERROR_; the simulated call returns it."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name
