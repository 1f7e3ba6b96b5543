"""A Ray cluster of one machine, in a process of its own, and gone with it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

_CLUSTER = """
import logging, sys
import ray

node = ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20,
                log_to_driver=False, logging_level=logging.CRITICAL)
print(node.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """Start it; yields its address. Who connects needs the token that Ray leaves in the home folder."""
    pipe, silent = subprocess.PIPE, subprocess.DEVNULL
    command = [sys.executable, "-c", _CLUSTER]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=silent, text=True) as process,
    ):
        patch.setenv("RAY_AUTH_MODE", "token")
        yield process.stdout.readline().strip()
        process.stdin.close()
