"""Weights to begin training with: drawn at random, bilinear where they upsample, or those of a classification network.

A fully connected layer is a convolution over all that it sees, so VGG16's fc6 and fc7 become convolutions of 7x7 and
1x1 by reshaping alone (Long, Shelhamer and Darrell 2015, section 3.1; wkentaro/pytorch-fcn copy_params_from_vgg16).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fcn_export.checkpoints.reading import load_checkpoint
from fcn_export.families import Fcn, InputContract, ScoreConv, ScoreDeconv, State
from fcn_export.families.base import IMAGENET, bilinear_kernel, diagonal
from fcn_export.families.caffe import CaffeFcn

from .architectures import FACTS

# What the classification weights were trained on: torchvision's own, or conversions of Caffe's VGG16.
CLASSIFICATION_INPUTS: Mapping[str, InputContract] = {"torchvision": IMAGENET, "caffe": CaffeFcn.contracts[0]}


class InitError(Exception):
    """Classification weights do not fit the network; the text says where."""


def draw(net: Fcn) -> None:
    """Draw a network's weights as torchvision draws its classification networks'; upsampling becomes bilinear.

    Convolutions by He et al. 2015 (fan out), score layers as torch does, or zero where upstream begins so. The random
    numbers are torch's: seed them first.
    """
    for module in net.modules():
        if isinstance(module, ScoreDeconv):
            _make_bilinear(module)
        elif isinstance(module, ScoreConv):
            _draw_scores(module, FACTS[type(net)].zero_scores)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _make_bilinear(deconv: ScoreDeconv) -> None:
    """Upsample each class on its own; channels beyond the classes begin without any effect."""
    kernel = bilinear_kernel(deconv.kernel_size[0])
    with torch.no_grad():
        deconv.weight.zero_()
        classes = min(deconv.in_channels, deconv.out_channels)
        deconv.weight[:classes, :classes] = diagonal(kernel, classes)
        if deconv.bias is not None:
            deconv.bias.zero_()


def _draw_scores(layer: ScoreConv, zero: bool) -> None:
    layer.reset_parameters()
    if zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def load_classification(net: Fcn, path: Path, trained_on: str = "torchvision") -> None:
    """Read classification weights from a file, such as torchvision's resnet18-f37072fd.pth, and take them over.

    Args:
        net: changed in place.
        path: a state dict.
        trained_on: as for `take_over`.

    Raises:
        InitError: the file is of another network.
        ExportError: the file cannot be read as weights.
    """
    try:
        take_over(net, load_checkpoint(path).state, trained_on)
    except InitError as error:
        raise InitError(f"{path}: {error}") from None


def take_over(net: Fcn, classification: State, trained_on: str = "torchvision") -> None:
    """Take over the body of a classification network: torchvision's ResNets and VGGs, or state dicts of their layout.

    Where the network takes its pictures in another form (BGR, 0 to 255, other means), the first convolution is
    rewritten so that it gives the same, but for the border, where its padding of zeros now means another colour.

    Args:
        net: changed in place; what has no counterpart among the weights stays as it is.
        classification: weights by torchvision's keys; what has no counterpart in the network is passed over.
        trained_on: "torchvision" for RGB/255 with ImageNet normalisation, "caffe" for BGR 0-255 minus the mean.

    Raises:
        InitError: the weights are of another network.
    """
    prefixes = FACTS[type(net)].classification
    own = net.state_dict()
    taken = {_renamed(key, prefixes): value for key, value in classification.items() if _renamed(key, prefixes)}
    _check_fit(net, taken)
    first = next(iter(own)).removesuffix(".weight")
    _fit_input(taken, first, CLASSIFICATION_INPUTS[trained_on], net.contracts[0])
    net.load_state_dict({**own, **{key: value.reshape(own[key].shape) for key, value in taken.items()}})


def _renamed(key: str, prefixes: Mapping[str, str]) -> str:
    """The network's own key for one of the classification weights; empty where it has none."""
    for prefix, own in prefixes.items():
        if key.startswith(prefix):
            return own + key.removeprefix(prefix)
    return ""


def _check_fit(net: Fcn, taken: State) -> None:
    prefixes = tuple(FACTS[type(net)].classification.values())
    body = {key: value for key, value in net.state_dict().items() if key.startswith(prefixes) and value.ndim}
    missing, spare = sorted(body.keys() - taken.keys()), sorted(taken.keys() - body.keys())
    wrong = sorted(key for key in body.keys() & taken.keys() if not _fits(taken[key], body[key]))
    if not missing + spare + wrong:
        return
    key = (missing + spare + wrong)[0]
    expected, got = (tuple(state[key].shape) if key in state else "nothing" for state in (body, taken))
    raise InitError(f"not the body of this {net.family} {net.variant}: expected {expected} for {key}, got {got}")


def _fits(given: Tensor, wanted: Tensor) -> bool:
    """Equal shapes, or the matrix of a fully connected layer for a convolution of as many weights."""
    fully_connected = given.ndim == 2 and wanted.ndim == 4 and len(given) == len(wanted)
    return given.shape == wanted.shape or (fully_connected and given.numel() == wanted.numel())


def _fit_input(taken: dict[str, Tensor], conv: str, given: InputContract, wanted: InputContract) -> None:
    """Rewrite the first convolution from pictures normalised as `given` to the same ones normalised as `wanted`."""
    gain, shift = _between(given, wanted)
    weight = taken[f"{conv}.weight"]
    if shift.abs().max() > 1e-6:  # the means differ; ResNets have no bias to put that into, nor such families
        bias = taken.get(f"{conv}.bias")
        if bias is None:
            raise InitError(
                f"{conv} has no bias to take up the difference of the means; give weights of the same input"
            )
        taken[f"{conv}.bias"] = bias + torch.einsum("ochw,c->o", weight, shift)
    weight = weight * gain.view(1, 3, 1, 1)
    taken[f"{conv}.weight"] = weight.flip(1) if given.color != wanted.color else weight


def _between(given: InputContract, wanted: InputContract) -> tuple[Tensor, Tensor]:
    """Gain and shift per channel, in the colour order of `given`: given's picture = gain * wanted's picture + shift."""
    wanted = wanted.in_order(given.color)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (given.mean, given.std))
    other_mean, other_std = (torch.tensor(values, dtype=torch.float64) for values in (wanted.mean, wanted.std))
    factor = given.scale / wanted.scale
    return (other_std * factor / std).float(), ((other_mean * factor - mean) / std).float()
