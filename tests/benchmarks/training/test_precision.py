"""The measurement that chooses a precision: it leaves the network and torch's random numbers alone."""

from __future__ import annotations

import copy

import torch

from fcn_bench.training import log
from fcn_bench.training.learning import TrainingNetwork
from fcn_bench.training.precision import bf16_times
from tiny_networks import tiny


def test_a_copy_is_timed() -> None:
    network = TrainingNetwork(tiny("torchvision fcn"))  # BatchNorm, dropout, an auxiliary head
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert bf16_times(network, "cpu") > 0
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_epochs_are_whole_numbers_on_the_axis(tmp_path, monkeypatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), path.write_bytes(b"png")))
    row = {"loss": 1.0, "learning_rate": 0.1, "miou": 0.5, "pixel_accuracy": 0.7}
    log.write_png(tmp_path / "curves.png", [{"epoch": epoch, **row} for epoch in (1, 2, 3)], "a short run")
    for axes in drawn[0].axes[:2]:
        assert all(tick == int(tick) for tick in axes.get_xticks())
