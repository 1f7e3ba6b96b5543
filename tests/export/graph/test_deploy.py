"""Each rewriting for inference keeps what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fcn_export.families import ScoreDeconv
from fcn_export.families.base import bilinear_deconv
from fcn_export.graph.deploy import (
    HALF_GAIN,
    ChannelAffine,
    SubpixelDeconv,
    deploy,
    exact_tail,
    first_conv,
    fold_batchnorm,
    group_diagonal_deconvs,
    is_bilinear,
)
from fcn_export.graph.verify import textured_frames
from fcnrt.contract.tail import Tail
from tiny_networks import NAMES, tiny


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_untouched_bilinear_deconvolution_is_recognised(stride: int) -> None:
    assert is_bilinear(bilinear_deconv(5, stride))


def one_weight(deconv: ScoreDeconv) -> None:
    deconv.weight[1, 1, 3, 3] += 1e-6


def off_diagonal(deconv: ScoreDeconv) -> None:
    deconv.weight[0, 1, 2, 2] = 1e-6


def uneven_bias(deconv: ScoreDeconv) -> None:
    deconv.bias = nn.Parameter(torch.tensor([0.0, 0.0, 1e-3]))


@pytest.mark.parametrize("train", [one_weight, off_diagonal, uneven_bias])
def test_trained_deconvolution_is_not_bilinear(train) -> None:
    deconv = bilinear_deconv(3, 8).requires_grad_(False)
    train(deconv)
    assert not is_bilinear(deconv)


def test_equal_biases_move_no_label() -> None:
    deconv = bilinear_deconv(3, 8)
    deconv.bias = nn.Parameter(torch.full((3,), 0.7))
    assert is_bilinear(deconv)


@pytest.mark.parametrize(("height", "width", "stride"), [(3, 5, 4), (1, 1, 32), (7, 2, 8)])
def test_subpixel_form_is_the_transposed_convolution(height: int, width: int, stride: int) -> None:
    deconv = ScoreDeconv(4, 3, 2 * stride, stride).double()
    subpixel = SubpixelDeconv(deconv).double()
    x = torch.randn(2, 4, height, width, dtype=torch.float64)
    torch.testing.assert_close(subpixel(x), deconv(x))


def test_trained_last_deconvolution_stays_with_the_scores() -> None:
    net = tiny("caffe fcn16s")
    net.upscore16.weight.add_(0.01)
    last_step, tail = exact_tail(net)
    assert isinstance(last_step, SubpixelDeconv) and tail == Tail("none", offset=27)


@pytest.mark.parametrize("name", [name for name in NAMES if "caffe" not in name and "zijun" not in name])
def test_folding_batchnorm_changes_no_logit(name: str) -> None:
    net = tiny(name).double()
    x = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    before = net(x)
    fold_batchnorm(net)
    torch.testing.assert_close(net(x), before)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_batchnorm_after_relu_is_not_folded_into_the_deconvolution() -> None:
    net = tiny("pochih fcns")
    deconv = net.deconv1.weight.clone()
    fold_batchnorm(net)
    assert isinstance(net.bn1, ChannelAffine) and torch.equal(net.deconv1.weight, deconv)


def test_diagonal_deconvolutions_become_grouped() -> None:
    net = tiny("caffe fcn8s").double()
    x = torch.randn(1, 3, 30, 41, dtype=torch.float64)
    before = net(x)
    group_diagonal_deconvs(net)
    assert net.upscore2.groups == net.upscore8.groups == 7 and net.upscore2.weight.shape == (7, 1, 4, 4)
    torch.testing.assert_close(net(x), before)


def test_mixing_deconvolution_stays_dense() -> None:
    net = tiny("caffe fcn8s")
    net.upscore2.weight[0, 1, 0, 0] = 0.1
    group_diagonal_deconvs(net)
    assert net.upscore2.groups == 1 and net.upscore_pool4.groups == 7


def test_power_of_two_gain_changes_exponents_only() -> None:
    """Bit for bit: Conv, bias, ReLU, max-pooling and addition commute with a power of two (float32, no subnormals)."""
    net, scaled = tiny("caffe fcn8s"), tiny("caffe fcn8s")
    for module in scaled.modules():
        if isinstance(module, nn.Conv2d):
            if module.__class__ is nn.Conv2d:
                module.bias.mul_(HALF_GAIN)
            else:
                module.weight.div_(HALF_GAIN)
    x = torch.randn(1, 3, 50, 43) * 100
    assert torch.equal(scaled.scores(x * HALF_GAIN), net.scores(x))


def test_half_gain_prevents_overflow_on_0_to_255_inputs() -> None:
    net = tiny("caffe fcn32s")
    first_conv(net).weight.mul_(3000)  # activations beyond 65504 where nothing is rescaled
    net.score_fr.weight.div_(3000)
    frames = textured_frames(1, 40, 50, seed=1)
    logits = net(net.contracts[0].normalise(frames, "rgb"))
    labels, scores = deploy(net, net.contracts[0], "rgb", half=True)(frames)
    assert torch.isfinite(scores).all()
    assert (labels == logits.argmax(1)).float().mean() > 0.97


@pytest.mark.parametrize("name", NAMES)
def test_half_network_computes_in_halves_and_agrees(name: str) -> None:
    net = tiny(name)
    frames = textured_frames(1, 65, 83, seed=2)
    logits = net(net.contracts[0].normalise(frames, "rgb"))
    half = deploy(net, net.contracts[0], "rgb", half=True)
    assert first_conv(half.net).weight.dtype == torch.float16
    labels, scores = half(frames)
    assert scores.dtype == torch.float32
    assert (labels == logits.argmax(1)).float().mean() > 0.97


@pytest.mark.parametrize(("stride", "offset"), [(32, 19), (16, 27), (8, 31), (32, 16)])
def test_sampling_has_the_labels_of_the_cropped_deconvolution(stride: int, offset: int) -> None:
    """What `deconv` tails rely on: the transposed convolution's borders fade alike for all classes."""
    torch.manual_seed(0)
    scores = torch.randn(1, 6, 9, 11, dtype=torch.float64)
    deconv = bilinear_deconv(6, stride).double()
    first = offset - stride // 2
    height, width = 9 * stride - first, 11 * stride - first
    full = deconv(scores)[:, :, offset : offset + height, offset : offset + width]
    sampled = F.interpolate(scores, scale_factor=stride, mode="bilinear")
    sampled = sampled[:, :, first : first + height, first : first + width]
    assert full.shape == sampled.shape
    assert torch.equal(full.argmax(1), sampled.argmax(1))
