"""TensorRT's one log, and the order of versions."""

from __future__ import annotations

from typing import Any

import pytest

from fcnrt.contract.flavours import logger_of, version_tuple
from simulated.host import MakeHost


def test_there_is_one_logger_per_module_and_it_keeps_errors(
    make_host: MakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    trt = make_host("10.9").trt.module
    log: Any = logger_of(trt)
    assert logger_of(trt) is log
    log.log(trt.ILogger.WARNING, "no matter")
    log.log(trt.ILogger.ERROR, "it failed")
    log.log(trt.ILogger.ERROR, "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (no driver)")
    assert list(log.errors) == ["it failed"] and capsys.readouterr().err == ""
    log.printed = True
    log.log(trt.ILogger.INTERNAL_ERROR, "worse")
    assert capsys.readouterr().err == "[F] worse\n"


def test_a_log_of_months_stays_small(make_host: MakeHost) -> None:
    trt = make_host("10.9").trt.module
    log: Any = logger_of(trt)
    for number in range(1000):
        log.log(trt.ILogger.ERROR, f"failure {number}")
    assert log.errors[-1] == "failure 999" and len(log.errors) < 100


def test_versions_are_compared_as_numbers() -> None:
    assert version_tuple("10.2.0.post1") == (10, 2, 0)
    assert version_tuple("8.6.1") < version_tuple("8.10") < version_tuple("10.9") < version_tuple("10.16")
    assert version_tuple("none") == ()
