"""Whether bfloat16 pays on this machine: a few steps in either precision, on a copy of the network."""

from __future__ import annotations

import copy
import time

import torch

from .learning import TrainingNetwork

SIDE_PX = 128  # of the pictures that are timed, or the least that the network takes
ROUNDS, LIMIT_S = 3, 10.0
WORTH = 0.95  # of float32's time: less is not worth the rounding


def bf16_times(network: TrainingNetwork, device: str) -> float:
    """How many times as long as in float32 forward and backward pass take in bfloat16.

    Where a processor has no instructions for it, torch computes it in other ways, several times as slowly.

    Args:
        network: as trained; a copy is timed, and torch's random numbers stay as they were.
        device: "cpu" or "cuda".
    """
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        trial = copy.deepcopy(network).to(device, memory_format=torch.channels_last).train()
        side = max(SIDE_PX, network.net.min_size)
        x = torch.rand(2, 3, side, side, device=device).to(memory_format=torch.channels_last)
        labels = torch.randint(network.net.classes, (2, side, side), device=device)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        started = time.perf_counter()
        for turn in range(ROUNDS + 1):
            for bf16, laps in seconds.items():
                laps.append(_step_seconds(trial, x, labels, bf16))
            if turn and time.perf_counter() - started > LIMIT_S:
                break
    return min(seconds[True][1:]) / min(seconds[False][1:])


def _step_seconds(network: TrainingNetwork, x: torch.Tensor, labels: torch.Tensor, bf16: bool) -> float:
    start = time.perf_counter()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        loss = network.loss(x, labels)
    loss.backward()
    network.zero_grad()
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def described(precision: str, bf16: bool, times: float) -> str:
    """What was asked for, what was taken and why, in words."""
    measured = f"bfloat16 takes {times:.2f} times as long as float32 here"
    if precision == "bf16" and times > 1:
        return f"bfloat16 as asked for, but {measured}; --precision fp32 is faster"
    return f"{'bfloat16' if bf16 else 'float32'}: {measured}"
