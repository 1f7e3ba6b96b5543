"""The head that Tramac and torchvision share: 3x3 convolution, BatchNorm, ReLU, dropout, 1x1 scores."""

from __future__ import annotations

from torch import nn

from .base import ScoreConv


def conv_head(in_channels: int, hidden: int, classes: int) -> nn.Sequential:
    """torchvision FCNHead and Tramac _FCNHead; both default to hidden = in_channels // 4, weights may say otherwise."""
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 3, padding=1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Dropout(0.1),
        ScoreConv(hidden, classes),
    )
