"""The upstream network in torch, with normalisation and argmax in torch as well."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fcnrt.backends import read_spec
from fcnrt.contract.types import Array

from .base import CannotRun, Contender, Frames, Setup
from .upstream import network


class Labeller(nn.Module):
    """Frames (N, H, W, 3) uint8 to labels (N, H, W): what a careful user writes around a network.

    Args:
        setup: names the checkpoint and the model.
        channels_last: compute in the memory layout that frames have already.
        dtype: of weights and activations.
    """

    def __init__(self, setup: Setup, channels_last: bool, dtype: torch.dtype):
        super().__init__()
        net, contract = network(setup)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(dtype, memory_format=layout)
        self.layout, self.dtype, self.scale = layout, dtype, contract.scale
        self.swap = read_spec(setup.model).color != contract.color
        self.label_dtype = torch.uint8 if net.classes <= 256 else torch.uint16
        self.register_buffer("mean", torch.tensor(contract.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(contract.std).view(3, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
        x = x.flip(1) if self.swap else x
        x = (x * self.scale - self.mean) / self.std
        logits = self.net(x.to(self.dtype, memory_format=self.layout))  # (N, C, H, W)
        return logits.argmax(1).to(self.label_dtype)


def eager(setup: Setup) -> Contender:
    """As loaded."""
    return _contender(setup, Labeller(setup, channels_last=False, dtype=torch.float32), _single(setup))


def channels_last(setup: Setup) -> Contender:
    """In channels-last layout."""
    return _contender(setup, Labeller(setup, channels_last=True, dtype=torch.float32), _single(setup))


def half(setup: Setup) -> Contender:
    """Channels-last in half precision: bfloat16 autocast on the CPU, float16 throughout on GPUs."""
    if setup.device == "cpu":
        module = Labeller(setup, channels_last=True, dtype=torch.float32)
        return _contender(setup, module, "bf16", lambda: torch.autocast("cpu", torch.bfloat16), "autocast")
    return _contender(setup, Labeller(setup, channels_last=True, dtype=torch.float16), "fp16")


def compiled(setup: Setup) -> Contender:
    """torch.compile with its defaults, channels-last: fp32 on the CPU, fp16 on GPUs."""
    on_gpu = setup.device == "cuda"
    module = Labeller(setup, channels_last=True, dtype=torch.float16 if on_gpu else torch.float32)
    return _contender(setup, torch.compile(module), "fp16" if on_gpu else "fp32", note="static shape")


def _single(setup: Setup) -> str:
    """What torch makes of float32 convolutions by default: on GPUs, TF32."""
    return "tf32" if setup.device == "cuda" and torch.backends.cudnn.allow_tf32 else "fp32"


def _contender(
    setup: Setup,
    module: Callable[[Tensor], Tensor],
    precision: str,
    context: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    note: str = "",
) -> Contender:
    if setup.device == "cuda" and not torch.cuda.is_available():
        raise CannotRun("this torch has no CUDA")
    torch.set_num_threads(setup.threads)
    module.to(setup.device)  # type: ignore[attr-defined]

    @torch.inference_mode()
    def label(frames: Frames) -> Array:
        with context():
            return module(torch.from_numpy(frames).to(setup.device)).cpu().numpy()

    return Contender(label, precision, note)
