"""Networks as their upstream writes them, in plain torch and torchvision, with no code of ours: judges of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.segmentation.fcn import FCN, FCNHead

from fcn_export.graph.verify import textured_frames

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
ODD = (71, 103)  # a size that no export traces


def torchvision_fcn(classes: int, bottleneck: bool = False, dilate: Sequence[bool] = (False, False, False)) -> FCN:
    """torchvision's own FCN on a short ResNet; with bottlenecks, `dilate` are the last three stages' dilations."""
    torch.manual_seed(0)
    if bottleneck:
        body = ResNet(Bottleneck, [1, 1, 2, 1], width_per_group=8, replace_stride_with_dilation=list(dilate))
    else:
        body = ResNet(BasicBlock, [1, 1, 1, 1])
    channels = 2048 if bottleneck else 512
    net = FCN(IntermediateLayerGetter(body, {"layer4": "out"}), FCNHead(channels, classes))
    return lively(net, net.classifier[4])


def lively(net: nn.Module, *scores: nn.Module, balance: Sequence[nn.Module] | None = None) -> nn.Module:
    """The network in eval mode with statistics of its own in every BatchNorm, and classes that all win somewhere.

    `scores` are the layers whose outputs are classes: they, or those in `balance`, are centred and scaled on one
    textured picture.
    """
    net.eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.2)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module not in scores:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    hooks = [layer.register_forward_hook(_balance) for layer in (scores if balance is None else balance)]
    net(prepared(frame(seed=5), **IMAGENET))
    for hook in hooks:
        hook.remove()
    return net


def _balance(layer: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    mean, std = output.mean((0, 2, 3)), output.std((0, 2, 3)).clamp_min(1e-6)
    layer.weight.div_(std.view(-1, 1, 1, 1))
    layer.bias.sub_(mean).div_(std)
    return (output - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


def frame(height: int = ODD[0], width: int = ODD[1], seed: int = 3) -> np.ndarray:
    """A textured RGB picture, uint8 (height, width, 3)."""
    return textured_frames(1, height, width, seed)[0].numpy()


def prepared(
    frame_hwc: np.ndarray, mean: Sequence[float], std: Sequence[float], divide: bool = True, bgr: bool = False
) -> Tensor:
    """Upstream's own preprocessing of an RGB frame: (1, 3, H, W); mean and std in the order that the network sees."""
    picture = frame_hwc[..., ::-1] if bgr else frame_hwc
    x = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    if divide:
        x = x / 255
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@torch.inference_mode()
def logits(net: nn.Module, x: Tensor) -> Tensor:
    """Full-size logits (C, H, W) of a network that gives them or a dict of them under `out`."""
    out = net(x)
    return (out["out"] if isinstance(out, dict) else out)[0]


def agreement(labels_hw: np.ndarray, upstream_chw: Tensor, nearly: float = 1e-4) -> float:
    """The share of labels that equal upstream's, where its two best classes are no tie within float32's rounding."""
    best = upstream_chw.topk(2, dim=0).values
    clear = (best[0] - best[1] > nearly * upstream_chw.std()).numpy()
    assert len(np.unique(upstream_chw.argmax(0).numpy())) > 1, "one class everywhere proves nothing"
    assert clear.mean() > 0.99
    return float((labels_hw == upstream_chw.argmax(0).numpy())[clear].mean())
