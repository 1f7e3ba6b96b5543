"""Asking the driver for a GPU, with a driver of our own."""

from __future__ import annotations

import sys
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fcn_export.engines.gpu_device import Gpu, NoGpu, find_gpu, make_current

RESULT = IntEnum("CUresult", {"CUDA_SUCCESS": 0, "CUDA_ERROR_NO_DEVICE": 100, "CUDA_ERROR_OUT_OF_MEMORY": 2})


def fake_driver(**answers: Any) -> Any:
    """cuda.bindings.driver with two devices, by the names and return values of its documentation."""
    made: dict[str, Any] = {
        "cuInit": lambda flags: (RESULT.CUDA_SUCCESS,),
        "cuDeviceGetCount": lambda: (RESULT.CUDA_SUCCESS, 2),
        "cuDeviceGet": lambda index: (RESULT.CUDA_SUCCESS, f"device {index}"),
        "cuDeviceGetAttribute": lambda wanted, device: (RESULT.CUDA_SUCCESS, {75: 8, 76: 9}[wanted]),
        "cuDeviceGetName": lambda length, device: (RESULT.CUDA_SUCCESS, b"A GPU\0\0"),
        "cuDeviceTotalMem": lambda device: (RESULT.CUDA_SUCCESS, 24 * 10**9),
        "cuDevicePrimaryCtxRetain": lambda device: (RESULT.CUDA_SUCCESS, f"context of {device}"),
        "CUresult": RESULT,
        "CUdevice_attribute": SimpleNamespace(
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76
        ),
    }
    return SimpleNamespace(**made | answers)


def install(monkeypatch: pytest.MonkeyPatch, driver: Any) -> None:
    bindings: Any = ModuleType("cuda.bindings")
    bindings.driver = driver
    monkeypatch.setitem(sys.modules, "cuda.bindings", None if driver is None else bindings)


def test_what_the_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, fake_driver())
    assert find_gpu(1) == Gpu(1, "A GPU", 89, 24 * 10**9)


def test_primary_context_is_made_current(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[str] = []
    install(monkeypatch, fake_driver(cuCtxSetCurrent=lambda context: current.append(context) or (RESULT.CUDA_SUCCESS,)))
    make_current(Gpu(1, "A GPU", 89, 24 * 10**9))
    assert current == ["context of device 1"]


def no_library(flags: int) -> None:
    raise RuntimeError("libcuda.so cannot be found")


@pytest.mark.parametrize(
    ("driver", "text"),
    [
        (None, "cuda-bindings is not installed"),
        (fake_driver(cuInit=no_library), "no NVIDIA driver on this machine"),
        (
            fake_driver(cuInit=lambda flags: (RESULT.CUDA_ERROR_NO_DEVICE,)),
            "the NVIDIA driver reports CUDA_ERROR_NO_DEVICE",
        ),
        (fake_driver(), "--device 2: this machine has 2 CUDA devices, counted from 0"),
    ],
)
def test_no_gpu(driver: Any, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, driver)
    with pytest.raises(NoGpu, match=text):
        find_gpu(2)


def test_names_are_those_of_the_installed_bindings() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    missing = [name for name in (*vars(fake_driver()), "cuCtxSetCurrent") if not hasattr(driver, name)]
    assert missing == []
    attributes = vars(fake_driver().CUdevice_attribute)
    assert {name: int(getattr(driver.CUdevice_attribute, name)) for name in attributes} == attributes
    assert driver.CUresult.CUDA_SUCCESS == 0
