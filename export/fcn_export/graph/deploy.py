"""From an upstream network to the one that is exported: the same labels, everything inside, cheaper layers."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fcnrt.contract.interface import Interface
from fcnrt.contract.spec import BYTES_TO_LABELS, Color
from fcnrt.contract.tail import Tail

from ..families import Fcn, InputContract, ScoreConv, ScoreDeconv
from ..families.base import bilinear_kernel, diagonal, pad_to_multiple

MODERATE = 64.0  # normalised inputs up to here are left as they are in halves
HALF_GAIN = 2.0**-8  # brings 0-255 inputs into the range of halves; a power of two changes exponents only


class DeployedFcn(nn.Module):
    """Frames to labels (N, H, W), or to logits (N, C, H, W), and to float32 scores (N, C, h, w): the file contract.

    Args:
        net: the network, already rewritten by `deploy`.
        last_step: a trained upsampling that belongs to the scores, or None.
        tail: how the scores become labels.
        contract: the input it was trained on, channels in the order that frames have.
        gain: power of two that the normalised input is multiplied by.
        interface: what frames are given as, and what is made of them.
    """

    def __init__(
        self,
        net: Fcn,
        last_step: nn.Module | None,
        tail: Tail,
        contract: InputContract,
        gain: float,
        interface: Interface = BYTES_TO_LABELS,
    ):
        super().__init__()
        self.net, self.last_step, self.tail = net, last_step, tail
        self.contract, self.gain, self.interface = contract, gain, interface
        mean = torch.tensor(contract.mean, dtype=torch.float64) / contract.scale
        factor = gain * contract.scale / torch.tensor(contract.std, dtype=torch.float64)
        self.register_buffer("mean", mean.float().view(3, 1, 1))
        self.register_buffer("factor", factor.float().view(3, 1, 1))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        height, width = (frames.shape[axis] for axis in self.interface.frame_axes[1:])
        x = pad_to_multiple(self._normalise(frames), self.net.multiple)
        scores = self.net.scores(x)
        if self.last_step is not None:
            scores = self.last_step(scores)
        return self._result(scores, height, width), scores

    def as_given(self, frames: Tensor) -> Tensor:
        """Frames uint8 (N, H, W, 3) as this network's interface has them."""
        if not self.interface.planes:
            return frames
        if self.interface.input_range == "normalised":
            return self.contract.normalise(frames, self.contract.color)
        return frames.permute(0, 3, 1, 2).float()

    def _result(self, scores: Tensor, height: int, width: int) -> Tensor:
        if self.interface.output == "scores-float":
            return _logits(scores, self.tail, height, width)
        dtype = torch.uint8 if self.interface.output == "labels" else torch.int32
        return _labels(scores, self.tail, height, width).to(dtype)

    def _normalise(self, frames: Tensor) -> Tensor:
        if self.interface.input_range == "normalised":
            x = frames if self.gain == 1 else frames * self.gain
            return x.to(first_conv(self.net).weight.dtype)
        x = frames if self.interface.planes else frames.float().permute(0, 3, 1, 2)  # TensorRT transposes no uint8
        x = x - self.mean  # (N, 3, H, W)
        if (self.factor != 1).any():
            x = x * self.factor
        return x.to(first_conv(self.net).weight.dtype)


def deploy(
    net: Fcn, contract: InputContract, color: Color, half: bool, interface: Interface = BYTES_TO_LABELS
) -> DeployedFcn:
    """Rewrite a loaded network in place for inference and wrap it as the file contract wants it.

    Args:
        net: an FCN in upstream form, float32, with its weights; it is changed and becomes part of the result.
        contract: the input it was trained on, scale known.
        color: "rgb" or "bgr", the channel order that frames will have.
        half: half-precision body; normalisation, score layers and everything after them stay float32.
        interface: what frames are given as, and what is made of them.
    """
    net.eval().requires_grad_(False)
    last_step, tail = exact_tail(net)
    drop_last_deconv(net)
    fold_batchnorm(net)
    fold_score_scales(net)
    group_diagonal_deconvs(net)
    if color != contract.color:
        reverse_input_channels(net)
    gain = HALF_GAIN if half and net.homogeneous and _reach(contract) > MODERATE else 1.0
    if half:
        halve_body(net, gain)
    return DeployedFcn(net, last_step, tail, contract.in_order(color), gain, interface).eval()


def _reach(contract: InputContract) -> float:
    """How far apart normalised inputs can lie."""
    return 255 * contract.scale / min(contract.std)


def exact_tail(net: Fcn) -> tuple[nn.Module | None, Tail]:
    """The family's bilinear tail; or, where the last deconvolution was trained, that one and a tail that only crops."""
    deconv = net.last_deconv
    if deconv is None or is_bilinear(deconv):
        return None, net.tail
    return SubpixelDeconv(deconv), Tail("none", offset=net.tail.offset)


def drop_last_deconv(net: Fcn) -> None:
    """Free the last deconvolution, whose part the tail has taken over; a trained one can be large."""
    for name, module in list(net.named_modules()):
        if module is net.last_deconv:
            net.set_submodule(name, nn.Identity())


def is_bilinear(deconv: ScoreDeconv) -> bool:
    """Whether a deconvolution upsamples every class by exactly the bilinear kernel, with no bias between classes."""
    if deconv.in_channels != deconv.out_channels:
        return False
    kernel = diagonal(bilinear_kernel(deconv.kernel_size[0]), deconv.in_channels)
    # equal biases move no argmax; unequal ones would, at the zero-extended border
    level = deconv.bias is None or bool((deconv.bias == deconv.bias[0]).all())
    return level and torch.equal(deconv.weight, kernel)


class SubpixelDeconv(nn.Module):
    """A transposed convolution of kernel 2 * stride, uncropped, as a 2x2 convolution and a pixel shuffle.

    The same sums in another order (Shi et al. 2016, arXiv:1609.07009), and one matrix product instead of scattered
    additions: more than twice as fast in ONNX Runtime on a CPU.
    """

    def __init__(self, deconv: ScoreDeconv):
        super().__init__()
        self.stride = deconv.stride[0]
        channels, classes = deconv.weight.shape[:2]
        # a block of output rows takes the sample above it through the kernel's second half, its own through the first
        halves = deconv.weight.view(channels, classes, 2, self.stride, 2, self.stride).flip(2, 4)
        phases = halves.permute(1, 3, 5, 0, 2, 4)  # (classes, row phase, column phase, channels, 2, 2)
        self.weight = nn.Parameter(phases.reshape(-1, channels, 2, 2), requires_grad=False)
        bias = torch.zeros(classes) if deconv.bias is None else deconv.bias
        self.bias = nn.Parameter(bias.repeat_interleave(self.stride**2), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.conv2d(x, self.weight, self.bias, padding=1), self.stride)


def fold_batchnorm(net: nn.Module) -> None:
    """Fold each BatchNorm into the convolution that alone feeds it; one that follows a ReLU becomes multiply-add."""
    modules = dict(net.named_modules())
    for node in fx.symbolic_trace(net).graph.nodes:
        norm = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        source = node.args[0]
        conv = modules.get(source.target) if source.op == "call_module" and len(source.users) == 1 else None
        if isinstance(conv, nn.Conv2d):
            net.set_submodule(source.target, fuse_conv_bn_eval(conv, norm))
            net.set_submodule(node.target, nn.Identity())
        else:
            net.set_submodule(node.target, ChannelAffine(norm))


class ChannelAffine(nn.Module):
    """x * scale + shift per channel: a BatchNorm in inference that has no convolution to go into."""

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.scale = nn.Parameter(scale.view(-1, 1, 1), requires_grad=False)
        self.shift = nn.Parameter((norm.bias - norm.running_mean * scale).view(-1, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def fold_score_scales(net: Fcn) -> None:
    """Move the input scales of score layers (FCN-8s at once: 0.01 and 0.0001) into their weights."""
    for layer in _modules(net, ScoreConv):
        layer.weight.mul_(layer.input_scale)
        layer.input_scale = 1.0


def group_diagonal_deconvs(net: Fcn) -> None:
    """Make deconvolutions that mix no classes grouped: as many times fewer products as there are classes."""
    for deconv in _modules(net, ScoreDeconv):
        classes = deconv.in_channels
        own = torch.arange(classes)
        if deconv.groups == 1 and classes == deconv.out_channels and _is_diagonal(deconv.weight):
            deconv.weight = nn.Parameter(deconv.weight[own, own].unsqueeze(1), requires_grad=False)
            deconv.groups = classes


def reverse_input_channels(net: Fcn) -> None:
    """Permute the first convolution's input channels, so that frames of the other colour order need no swap."""
    conv = first_conv(net)
    conv.weight.copy_(conv.weight.flip(1))


def halve_body(net: Fcn, gain: float) -> None:
    """Make everything before the score layers float16, scaled by `gain`; the score layers scale back."""
    for module in net.modules():
        if isinstance(module, ScoreConv):
            module.weight.div_(gain)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, ChannelAffine)) and not isinstance(module, ScoreDeconv):
            if gain != 1:
                module.bias.mul_(gain)
            module.half()


def first_conv(net: Fcn) -> nn.Conv2d:
    """The convolution that sees the picture: in every family the first that is registered."""
    return next(_modules(net, nn.Conv2d))


def _modules(net: nn.Module, kind: type):
    return (module for module in net.modules() if isinstance(module, kind))


def _is_diagonal(weight: Tensor) -> bool:
    off = ~torch.eye(weight.shape[0], dtype=torch.bool)
    return not weight[off].any()


def _labels(scores: Tensor, tail: Tail, height: int, width: int) -> Tensor:
    """Bilinear sampling of scores (N, C, h, w) by the tail's rule, and argmax: (N, height, width).

    torch's argmax, and ONNX's, which it becomes, keep the tie rule of fcnrt.ops.reference.argmax.
    """
    if tail.kind == "none":  # the window of labels is smaller than that of scores
        return _window(scores.argmax(1), tail.offset, height, width)
    return _logits(scores, tail, height, width).argmax(1)


def _logits(scores: Tensor, tail: Tail, height: int, width: int) -> Tensor:
    """Scores (N, C, h, w) at every pixel: (N, C, height, width)."""
    if tail.kind == "none":
        return _window(scores, tail.offset, height, width)
    if tail.kind == "deconv":
        # (y + o + 1/2)/s - 1 is half-pixel sampling of row y + o - s/2
        logits = F.interpolate(scores, scale_factor=float(tail.stride), mode="bilinear", align_corners=False)
        return _window(logits, tail.offset - tail.stride // 2, height, width)
    align = tail.kind == "align_corners"
    return F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=align)


def _window(x: Tensor, offset: int, height: int, width: int) -> Tensor:
    return x[..., offset : offset + height, offset : offset + width]
