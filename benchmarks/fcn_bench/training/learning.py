"""A network as it is trained: its loss, what only training has, and one step of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn_export.families import Fcn, ScoreDeconv
from fcn_export.families.conv_head import conv_head
from fcnrt.contract.types import UInt8Array

from ..metrics import VOID
from .architectures import FACTS, TrainingFacts


class LearningError(Exception):
    """Training cannot go on; the text says why and what to change."""


def pixel_loss(logits_nchw: Tensor, labels_nhw: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the pixels that are not void, in float32; `labels_nhw` is int64.

    One logit is of class 1 against class 0, by a sigmoid.
    """
    if logits_nchw.shape[1] > 1:
        return F.cross_entropy(logits_nchw.float(), labels_nhw, class_weights, ignore_index=VOID)
    annotated = labels_nhw != VOID
    labels = labels_nhw[annotated]
    weights = torch.ones_like(labels, dtype=torch.float32) if class_weights is None else class_weights[labels]
    losses = F.binary_cross_entropy_with_logits(
        logits_nchw[:, 0].float()[annotated], labels.float(), weights, reduction="sum"
    )
    return losses / weights.sum()


class TrainingNetwork(nn.Module):
    """A family's network with the auxiliary head, dropout and fixed deconvolutions that upstream trains it with.

    Args:
        net: the family's network; hooks are put on it.
        auxiliary_weight: of the auxiliary loss, where the family has one; 0 leaves the head out. torchvision's
            reference trainer and Tramac's take 0.5.
    """

    def __init__(self, net: Fcn, auxiliary_weight: float = 0.5):
        super().__init__()
        facts = FACTS[type(net)]
        self.net, self.auxiliary_weight = net, auxiliary_weight
        self.auxiliary: nn.Module | None = None
        if facts.auxiliary and auxiliary_weight:
            self._add_auxiliary(facts)
        for name in facts.dropout:
            net.get_submodule(name).register_forward_hook(partial(_drop, facts.drop))
        if facts.fixed_deconvs:
            for deconv in net.modules():
                if isinstance(deconv, ScoreDeconv):
                    deconv.requires_grad_(False)

    def _add_auxiliary(self, facts: TrainingFacts) -> None:
        channels = list(self.net.get_submodule(facts.auxiliary.trunk).parameters())[-1].shape[0]
        self.auxiliary = conv_head(channels, channels // 4, self.net.classes)
        self.net.get_submodule(facts.auxiliary.tap).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self._tapped = output

    def loss(self, x: Tensor, labels_nhw: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Cross-entropy of normalised pictures (N, 3, H, W), and the auxiliary head's times its weight."""
        loss = pixel_loss(self.net(x), labels_nhw, class_weights)
        if self.auxiliary is None:
            return loss
        logits = self.net.upsample(self.auxiliary(self._tapped), *x.shape[-2:])
        return loss + self.auxiliary_weight * pixel_loss(logits, labels_nhw, class_weights)


def _drop(drop: Callable[..., Tensor], module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    return drop(output, 0.5, module.training)


class Learner:
    """Everything that one step of training changes.

    Args:
        network: what is trained; it goes to the device and to channels-last memory.
        optimiser: over its parameters.
        schedule: of torch, told after each step.
        device: "cpu", "cuda" or a torch device.
        bf16: whether the forward pass computes in bfloat16 where torch's autocast allows it.
        class_weights: (C,) float32, how much a pixel of each class counts; alike by default.
    """

    def __init__(
        self,
        network: TrainingNetwork,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        device: torch.device | str = "cpu",
        bf16: bool = False,
        class_weights: Tensor | None = None,
    ):
        self.device = torch.device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.optimiser, self.schedule, self.bf16 = optimiser, schedule, bf16
        self.class_weights = None if class_weights is None else class_weights.to(self.device)

    def learn(self, frames_nhwc: UInt8Array, labels_nhw: UInt8Array) -> float:
        """Take one step on a batch of RGB frames and labels, both uint8, and return its loss.

        Raises:
            LearningError: the loss is not finite.
        """
        labels = torch.from_numpy(labels_nhw).to(self.device).long()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.network.loss(self.normalised(frames_nhwc), labels, self.class_weights)
        value = loss.item()
        if not math.isfinite(value):
            raise LearningError(f"loss: became {value}; lower --lr")
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return value

    def label(self, frame_hwc: UInt8Array) -> UInt8Array:
        """Classes (H, W) of one RGB frame, computed in float32 as the exported network will; eval mode is left on."""
        self.network.eval()
        with torch.inference_mode():
            logits = self.network.net(self.normalised(frame_hwc[None]))
            labels = logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0] > 0
            return labels[0].byte().cpu().numpy()

    def normalised(self, frames_nhwc: UInt8Array) -> Tensor:
        """RGB frames (N, H, W, 3) uint8 as the network takes them, (N, 3, H, W) float32 on the device."""
        with self.device:
            return self.network.net.contracts[0].normalise(torch.from_numpy(frames_nhwc).to(self.device), "rgb")


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters for an optimiser: weights decay, biases and BatchNorm do not."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def poly(progress: float) -> float:
    """Factor of the learning rate: (1 - progress)^0.9, as Tramac's and torchvision's trainers have it."""
    return (1 - min(progress, 1)) ** 0.9


def one_cycle(progress: float, rise: float = 0.25, first: float = 0.04) -> float:
    """Factor of the learning rate: up by half a cosine for a quarter of the way, then down to nothing (Smith 2018)."""
    if progress < rise:
        return first + (1 - first) * (1 - math.cos(math.pi * progress / rise)) / 2
    return (1 + math.cos(math.pi * (min(progress, 1) - rise) / (1 - rise))) / 2


SCHEDULES: Mapping[str, Callable[[float], float]] = {"poly": poly, "one-cycle": one_cycle}


def class_weights(pixels: Tensor, power: float) -> Tensor:
    """Weights (C,) for `pixel_loss` that help rare classes: their share of all pixels to the power of -`power`.

    Args:
        pixels: (C,) how many pixels of each class the training data has.
        power: 0 weighs all pixels alike, 1 all classes alike.
    """
    return (pixels.clamp(min=1) / pixels.sum()) ** -power
