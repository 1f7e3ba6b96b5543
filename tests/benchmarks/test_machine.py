"""What is said of the machine."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fcn_bench import machine
from simulated.host import MakeHost


def test_environment_says_what_was_run_on_what() -> None:
    found = machine.environment()
    assert found["cores"] >= 1 and found["last_level_cache_mib"] > 0
    assert found["versions"]["numpy"] == np.__version__ and "no-such-package" not in found["versions"]


def test_memory_that_was_held_counts_after_it_is_freed() -> None:
    code = """
import numpy
from fcn_bench import machine
before = machine.peak_host_nbytes()
held = before and numpy.ones(2 * before, "uint8")
del held
print(before, machine.peak_host_nbytes())
"""
    words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    if "None" in words:
        pytest.skip("this system does not tell")
    before, after = map(int, words)
    assert after >= 2 * before


def test_gpu_and_its_memory(make_host: MakeHost) -> None:
    host = make_host(sm=90, capacity=3 << 30)
    assert machine.gpu_facts()["capability"] == "9.0" and machine.gpu_facts()["memory_gib"] == 3
    assert machine.used_device_nbytes() == host.gpu.bytes_alive() == 0


def test_no_gpu_is_said_so(make_host: MakeHost) -> None:
    make_host(driver=False)
    assert machine.gpu_facts() is None and machine.used_device_nbytes() is None
