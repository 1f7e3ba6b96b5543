"""Proof that an exported file labels as the upstream network does: both are run, at traced and untraced sizes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcnrt.contract.precision import Precision
from fcnrt.errors import first_line

from ..errors import ExportError
from ..families import Fcn, InputContract
from .deploy import DeployedFcn
from .onnx_file import TRACED_SIZE

SIZES = (TRACED_SIZE, (65, 97), (83, 51), (1, 1))  # untraced, odd, and smaller than any stride
# A label may differ where the two best classes are this close, as a share of the picture's mean margin between them,
TIE = {Precision.FP32: 1e-2, Precision.FP16: 0.5}
# and this share must not differ at all. Wide for halves: an untrained network hardly prefers one class to another.
FLOOR = {Precision.FP32: 0.999, Precision.FP16: 0.95}
USUAL = 0.999  # what trained networks reach or exceed in halves
HALF_MAX = 65504.0
_ADVICE = {Precision.FP32: "please report this checkpoint", Precision.FP16: "export with --precision fp32"}


@dataclass(frozen=True)
class Case:
    """Frames (N, H, W, 3) uint8, and the upstream network's full-size logits for them (N, C, H, W) float32."""

    frames: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Agreement:
    """How many labels equal the upstream network's."""

    equal: int
    pixels: int
    sizes: tuple[tuple[int, int], ...]

    @property
    def share(self) -> float:
        return self.equal / self.pixels


def reference_cases(net: Fcn, contract: InputContract, color: str, fixed: Mapping[str, int]) -> list[Case]:
    """Run the upstream network, before anything is rewritten, on textured frames of several sizes.

    Raises:
        ExportError: its logits are not finite.
    """
    sizes = [size for size in SIZES if min(size) >= net.min_size]
    sizes = list(dict.fromkeys((fixed.get("height", height), fixed.get("width", width)) for height, width in sizes))
    cases = []
    for index, (height, width) in enumerate(sizes):
        batch = fixed.get("batch", 2 if index == 1 else 1)
        try:
            cases.append(_reference_case(net, contract, color, (batch, height, width), seed=index))
        except RuntimeError as error:  # a fixed size may be beyond memory
            raise ExportError(
                f"torch cannot run this network at {height}x{width} ({first_line(error)}); fix a smaller size"
            ) from error
    return cases


def check_half_range(network: DeployedFcn, cases: list[Case]) -> None:
    """Run a half network in torch, whose layers really store halves, and see that none comes near an overflow.

    Saturated frames are run as well as the textured ones: they drive activations highest.

    Raises:
        ExportError: an activation exceeds half the range of float16.
    """
    peaks = []

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        if isinstance(output, Tensor) and output.dtype == torch.float16:
            peaks.append(output.abs().amax())

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    with torch.inference_mode():
        for frames in (*_saturated_frames(cases[0].frames.shape), *(case.frames for case in cases)):
            network(network.as_given(frames))
    for hook in hooks:
        hook.remove()
    peak = float(torch.stack(peaks).amax())
    if not peak < HALF_MAX / 2:
        raise ExportError(
            f"activations reach {peak:.3g}, too near the end of float16 ({HALF_MAX:.0f}); export with --precision fp32"
        )


def compare(path: Path, network: DeployedFcn, cases: list[Case], precision: Precision) -> Agreement:
    """Run the ONNX file in ONNX Runtime on the CPU and hold its labels against the upstream network's.

    Raises:
        ExportError: a label differs where the upstream network's two best classes are no tie, or too many differ.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    equal = pixels = 0
    for case in cases:
        (found,) = session.run(None, {"frames": network.as_given(case.frames).contiguous().numpy()})
        labels = torch.from_numpy(found.argmax(1) if found.ndim == 4 else found.astype(np.int64))
        differs = labels != case.logits.argmax(1)
        _check_ties(case, labels, differs, precision)
        equal += int((~differs).sum())
        pixels += differs.numel()
    agreement = Agreement(equal, pixels, tuple(tuple(case.frames.shape[1:3]) for case in cases))
    if agreement.share < FLOOR[precision]:
        raise ExportError(f"only {agreement.share:.2%} of the labels equal torch's; {_ADVICE[precision]}")
    return agreement


def _check_ties(case: Case, labels: Tensor, differs: Tensor, precision: Precision) -> None:
    """Refuse labels that the reference finds worse than its own by more than a tie."""
    if not differs.any():
        return
    best, second = case.logits.topk(2, dim=1).values.unbind(1)
    chosen = case.logits.gather(1, labels[:, None]).squeeze(1)
    worst = float(((best - chosen) / (best - second).mean().clamp_min(1e-30))[differs].max())
    if worst > TIE[precision]:
        height, width = case.frames.shape[1:3]
        raise ExportError(
            f"at {height}x{width}, {int(differs.sum())} of {differs.numel()} labels differ from torch's by up to "
            f"{worst:.2g} of the mean margin between classes (allowed: {TIE[precision]:g}); {_ADVICE[precision]}"
        )


def _reference_case(net: Fcn, contract: InputContract, color: str, size: tuple[int, int, int], seed: int) -> Case:
    frames = textured_frames(*size, seed)
    with torch.inference_mode():
        logits = net(contract.normalise(frames, color))
    if not torch.isfinite(logits).all():
        raise ExportError("the network gives scores that are not finite; is this checkpoint trained and complete?")
    return Case(frames, logits)


def _saturated_frames(shape: torch.Size) -> Iterator[Tensor]:
    """Black, white, the six pure colours, and a checkerboard; uint8 of the given shape (N, H, W, 3)."""
    for color in itertools.product((0, 255), repeat=3):
        yield torch.tensor(color, dtype=torch.uint8).expand(shape).contiguous()
    rows, columns = torch.arange(shape[1]).view(-1, 1, 1), torch.arange(shape[2]).view(1, -1, 1)
    yield ((rows + columns) % 2 * 255).byte().expand(shape).contiguous()


def textured_frames(batch: int, height: int, width: int, seed: int) -> Tensor:
    """Smooth colours with noise, so that labels vary over the picture; uint8 (N, H, W, 3)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 4, 5, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    noise = 0.1 * torch.randn(batch, 3, height, width, generator=generator)
    return ((smooth + noise) * 255).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
