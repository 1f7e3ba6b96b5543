"""Checkpoints as each family's upstream would have saved them: its keys, its dictionary around them.

What upstream's own code or export/to_onnx.py reads is what a user of that family would bring.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcn_export.checkpoints.remembered import Remembered, remember
from fcn_export.families import Fcn
from fcn_export.families.caffe import CaffeFcn
from fcn_export.families.torchvision_fcn import TorchvisionFcn
from fcn_export.families.tramac import ALIASES, TramacVggFcn
from fcn_export.families.zijundeng import SLICES, ZijundengFcn
from fcnrt.contract.files import atomic_path

from .architectures import FACTS
from .learning import Learner, TrainingNetwork

State = dict[str, Tensor]
VGG16_LAYERS = 31  # of torchvision's vgg16.features
CAFFE_CLASSES = {"fcn32s": "FCN32s", "fcn16s": "FCN16s", "fcn8s": "FCN8s", "fcn8s-atonce": "FCN8sAtOnce"}


@dataclass(frozen=True)
class Progress:
    """How far training has come, for the families whose checkpoints tell; `options` are the trainer's."""

    epoch: int
    step: int
    best_miou: float
    options: argparse.Namespace


def save(path: Path, learner: Learner, progress: Progress, facts: Remembered) -> None:
    """Write a checkpoint in the family's own container, with `facts`; the file appears whole or not at all."""
    net = learner.network.net
    content = _WRAPPERS.get(type(net), _bare)(upstream_state(learner.network), learner, progress)
    with atomic_path(path) as temporary:
        torch.save(remember(content, facts), temporary)


def upstream_state(network: TrainingNetwork) -> State:
    """The weights on the CPU under the keys that upstream saves, auxiliary head included."""
    net = network.net
    # Channels-last is this trainer's business, not the file's.
    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    if network.auxiliary is not None:
        prefix = FACTS[type(net)].auxiliary.prefix
        state |= {prefix + key: value.cpu().contiguous() for key, value in network.auxiliary.state_dict().items()}
    return _RENAMERS.get(type(net), lambda state, net: state)(state, net)


def _with_aliases(state: State, net: Fcn) -> State:
    """Tramac registers slices of `pretrained` a second time; torch.save writes shared weights once."""
    aliases = {
        f"{block}.{index - layers.start}.{leaf}": state[f"pretrained.{index}.{leaf}"]
        for block, layers in _slices(ALIASES[net.variant]).items()
        for index in layers
        for leaf in ("weight", "bias")
        if f"pretrained.{index}.{leaf}" in state
    }
    return {**state, **aliases}


def _slices(starts: Mapping[str, int]) -> dict[str, range]:
    """The layers of VGG16's features in each block, from where the blocks begin."""
    ends = [*starts.values(), VGG16_LAYERS][1:]
    return {block: range(first, end) for (block, first), end in zip(starts.items(), ends, strict=True)}


def _zijundeng_keys(state: State, net: Fcn) -> State:
    """Upstream's names, found by asking the family what it makes of each name that upstream could have."""
    slices = _slices(SLICES[net.variant])
    modules = [f"{block}.{index}" for block, layers in slices.items() for index in range(len(layers))]
    modules += [f"score_fr.{index}" for index in range(7)]
    names = [f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")]
    names += [key for key in state if key.startswith(("upscore", "score_pool"))]
    ours = ZijundengFcn.canonical({name: name for name in names})  # type: ignore[dict-item]
    return {str(ours[key]): value for key, value in state.items()}


def _bare(state: State, learner: Learner, progress: Progress) -> Any:
    return state


def _wkentaro(state: State, learner: Learner, progress: Progress) -> Any:
    """torchfcn/trainer.py."""
    return {
        "epoch": progress.epoch,
        "iteration": progress.step,
        "arch": CAFFE_CLASSES[learner.network.net.variant],
        "optim_state_dict": learner.optimiser.state_dict(),
        "model_state_dict": state,
        "best_mean_iu": progress.best_miou,
    }


def _torchvision(state: State, learner: Learner, progress: Progress) -> Any:
    """references/segmentation/train.py."""
    return {
        "model": state,
        "optimizer": learner.optimiser.state_dict(),
        "lr_scheduler": learner.schedule.state_dict(),
        "epoch": progress.epoch,
        "args": progress.options,
    }


_RENAMERS: Mapping[type[Fcn], Callable[[State, Fcn], State]] = {
    TramacVggFcn: _with_aliases,
    ZijundengFcn: _zijundeng_keys,
}
_WRAPPERS: Mapping[type[Fcn], Callable[[State, Learner, Progress], Any]] = {
    CaffeFcn: _wkentaro,
    TorchvisionFcn: _torchvision,
}
