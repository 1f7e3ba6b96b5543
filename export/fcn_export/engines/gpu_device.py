"""The GPU that an engine is built on, asked of the NVIDIA driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fcnrt.errors import pip_install

from ..errors import ExportError


class NoGpu(ExportError):
    """There is no GPU to ask; the text is the reason alone."""


@dataclass(frozen=True)
class Gpu:
    """One CUDA device."""

    index: int
    name: str
    sm: int  # compute capability, 89 for 8.9
    memory_bytes: int


def find_gpu(index: int) -> Gpu:
    """CUDA device `index`, without making a context on it.

    Raises:
        NoGpu: no driver, no such device, or no cuda-bindings to ask with.
    """
    driver = _driver()
    count = _checked(driver, driver.cuDeviceGetCount())
    if index >= count:
        raise NoGpu(f"--device {index}: this machine has {count} CUDA device{'s'[: count != 1]}, counted from 0")
    device = _checked(driver, driver.cuDeviceGet(index))
    attribute = driver.CUdevice_attribute
    major, minor = (
        _checked(driver, driver.cuDeviceGetAttribute(wanted, device))
        for wanted in (
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    name = _checked(driver, driver.cuDeviceGetName(256, device)).split(b"\0")[0].decode(errors="replace")
    return Gpu(index, name, 10 * major + minor, _checked(driver, driver.cuDeviceTotalMem(device)))


def make_current(gpu: Gpu) -> None:
    """Make the primary context of a GPU current in this thread: TensorRT builds on the current device.

    Raises:
        NoGpu: the driver refuses.
    """
    driver = _driver()
    device = _checked(driver, driver.cuDeviceGet(gpu.index))
    _checked(driver, driver.cuCtxSetCurrent(_checked(driver, driver.cuDevicePrimaryCtxRetain(device))))


def _driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise NoGpu(f"cuda-bindings is not installed ({pip_install('fcnrt[cuda]')})") from error
    try:
        _checked(driver, driver.cuInit(0))
    except NoGpu:
        raise
    except Exception as error:  # the loader's own class, which differs between versions
        raise NoGpu("no NVIDIA driver on this machine") from error
    return driver


def _checked(driver: Any, answer: tuple[Any, ...]) -> Any:
    """The value of an (error, value) pair of the driver."""
    status, *values = answer
    if status != driver.CUresult.CUDA_SUCCESS:
        raise NoGpu(f"the NVIDIA driver reports {status.name}")
    return values[0] if values else None
