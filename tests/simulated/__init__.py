"""Simulated GPUs and engines: the GPU runtime in tests, on the CPU.

    @pytest.fixture
    def simulate(request, monkeypatch):
        with simulations(request, monkeypatch) as simulate:
            yield simulate

    def test_something(simulate):
        machine = simulate("lazy", sm=89)  # from here on fcnrt.gpu.cuda talks to it

Each file says on top what it simulates and what it does not prove.
"""

from .cuda_driver import SimulatedDriver, has_real_driver, simulated_cuda, simulations
from .machine import SimulatedCuda
from .misuse import Misuse
from .streams import MODES

__all__ = [
    "MODES",
    "Misuse",
    "SimulatedCuda",
    "SimulatedDriver",
    "has_real_driver",
    "simulated_cuda",
    "simulations",
]
