"""Asking the driver for a GPU, on a simulated one."""

from __future__ import annotations

import sys

import pytest

from fcn_export.engines.gpu_device import Gpu, NoGpu, find_gpu, make_current
from simulated.host import MakeHost


def test_what_the_driver_says(make_host: MakeHost) -> None:
    make_host(sm=120, devices=2, capacity=24 * 10**9)
    assert find_gpu(1) == Gpu(1, "Simulated GPU", 120, 24 * 10**9)


def test_primary_context_is_made_current(make_host: MakeHost) -> None:
    gpu = make_host(devices=2).gpu
    make_current(find_gpu(1))
    assert gpu.current_device() == 1
    make_current(find_gpu(0))
    assert gpu.current_device() == 0 and len(gpu.contexts) == 1
    gpu.end_process()


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({"driver": False}, "no NVIDIA driver on this machine"),
        ({"devices": 0}, "the NVIDIA driver reports CUDA_ERROR_NO_DEVICE"),
        ({"devices": 2}, "--device 2: this machine has 2 CUDA devices, counted from 0"),
    ],
)
def test_no_gpu(host: dict[str, int], text: str, make_host: MakeHost) -> None:
    make_host(**host)
    with pytest.raises(NoGpu, match=text):
        find_gpu(2)


def test_no_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(NoGpu, match="cuda-bindings is not installed"):
        find_gpu(0)
