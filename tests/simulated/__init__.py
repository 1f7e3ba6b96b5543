"""Simulated GPUs and engines: the GPU runtime in tests, on the CPU.

    from simulated import simulated_cuda

    with simulated_cuda(monkeypatch, mode="lazy", sm=89) as gpu: ...

Each file says on top what it simulates and what it does not prove.
"""

from .cuda_driver import SimulatedDriver, has_real_driver, simulated_cuda
from .machine import SimulatedCuda
from .misuse import Misuse
from .streams import MODES

__all__ = ["MODES", "Misuse", "SimulatedCuda", "SimulatedDriver", "has_real_driver", "simulated_cuda"]
