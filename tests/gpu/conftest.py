"""The GPU, and what runs on it; whatever is missing skips the tests that need it, with the reason.

A package of its own, whose helpers import each other; tests/conftest.py, which needs torch, stays out of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fcnrt
from fcnrt.gpu.cuda import Gpu, device_count

from .caller import LIBRARIES, Caller, Library
from .engines import LABELS_ONLY, WITH_KERNELS, Engine, Machine
from .inputs import Models

ENGINES = {**WITH_KERNELS, **LABELS_ONLY}


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    try:
        count = device_count()
    except fcnrt.FcnrtError as error:
        pytest.skip(str(error))
    if not count:
        pytest.skip("no NVIDIA GPU or driver here")
    folder = tmp_path_factory.mktemp("engines")
    return Machine(Gpu(0), Models(folder), folder)


@pytest.fixture
def gpu(machine: Machine) -> Iterator[Gpu]:
    """The GPU, current."""
    with machine.gpu.current():
        yield machine.gpu


@pytest.fixture(scope="session")
def engines(machine: Machine) -> dict[str, Engine]:
    return {name: make(machine) for name, make in ENGINES.items()}


@pytest.fixture(params=WITH_KERNELS)
def engine(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Engine:
    """Each engine that ends at the scores."""
    return available(engines[request.param])


@pytest.fixture(params=ENGINES)
def any_engine(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Engine:
    """Each engine, also those with a tail of their own."""
    return available(engines[request.param])


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def built(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Engine:
    """Each engine that is built for a GPU and for certain shapes."""
    return available(engines[request.param])


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, gpu: Gpu) -> Library:
    """Each library whose arrays are taken."""
    try:
        return LIBRARIES[request.param](gpu)
    except (ImportError, OSError) as error:
        pytest.skip(f"{request.param}: {error}")


@pytest.fixture
def caller(library: Library, gpu: Gpu) -> Caller:
    """A user of that library with a stream of its own."""
    return Caller(gpu, library.new_stream())


def available(engine: Engine) -> Engine:
    if engine.missing:
        pytest.skip(engine.missing)
    return engine
