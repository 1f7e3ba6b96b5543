"""Networks of one class and a sigmoid, as BCEWithLogitsLoss trains them, made into networks of two classes.

A plane of zeros for the background goes before the logit z. Argmax over (0, z) is 1 exactly where z > 0, and softmax
gives the foreground exactly sigmoid(z): nothing after the score layers needs to know.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..families import Fcn, ScoreConv, ScoreDeconv, State


def with_background(net: Fcn, state: State) -> State:
    """The weights of a network of one class as those of the same network of two, the first of which scores 0.

    Args:
        net: built for the one class; only its structure is looked at.
        state: its canonical state dict.
    """
    wider = dict(state)
    for name, layer in net.named_modules():
        if isinstance(layer, ScoreDeconv):
            wider[f"{name}.weight"] = _two_planes(state[f"{name}.weight"])
        if isinstance(layer, (ScoreConv, ScoreDeconv)) and layer.out_channels == 1:
            keys = [f"{name}.bias"] if isinstance(layer, ScoreDeconv) else [f"{name}.weight", f"{name}.bias"]
            wider |= {key: _zeros_before(state[key]) for key in keys if key in state}
    return wider


def _two_planes(weight: Tensor) -> Tensor:
    """A transposed convolution (in, 1, k, k) to two planes: each on its own, or both from more channels than one."""
    if weight.shape[0] > 1:
        return torch.cat((torch.zeros_like(weight), weight), dim=1)
    planes = weight.new_zeros(2, 2, *weight.shape[2:])
    planes[range(2), range(2)] = weight[0, 0]
    return planes


def _zeros_before(parameter: Tensor) -> Tensor:
    return torch.cat((torch.zeros_like(parameter), parameter))
