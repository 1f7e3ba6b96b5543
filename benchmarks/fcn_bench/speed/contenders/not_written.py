"""Contenders that belong into the table and have no adapter: one that was never run could only be a guess."""

from __future__ import annotations

from typing import NoReturn

from .base import CannotRun, Setup


def torch_tensorrt(setup: Setup) -> NoReturn:
    """torch_tensorrt.compile of the upstream network."""
    raise CannotRun("needs TensorRT on a GPU; its adapter is to be written where it can be tried")


def nvidia_quickstart(setup: Setup) -> NoReturn:
    """TensorRT's quick start: argmax in the engine, int64 labels out, normalisation on the CPU, synchronous copies."""
    raise CannotRun("needs TensorRT on a GPU; its adapter is to be written where it can be tried")
