"""Proof that an exported file labels as the upstream network does: both are run, at traced and untraced sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deploy import DeployedFcn
from errors import ExportError
from fcn_models import Fcn, InputContract
from onnx_file import TRACED_SIZE

SIZES = (TRACED_SIZE, (65, 97), (83, 51), (1, 1))  # untraced, odd, and smaller than any stride
# A label may differ where the two best classes are this close, as a share of the picture's range of logits.
TIE = {"fp32": 1e-3, "fp16": 5e-2}


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
        frames = _textured_frames(batch, height, width, seed=index)
        with torch.inference_mode():
            logits = net(_normalised(frames, contract, color))
        if not torch.isfinite(logits).all():
            raise ExportError("the network gives scores that are not finite; is this checkpoint trained and complete?")
        cases.append(Case(frames, logits))
    return cases


def check_half_range(network: DeployedFcn, cases: list[Case]) -> None:
    """Run a half network in torch, whose layers really store halves, and see that none overflows.

    Raises:
        ExportError: scores are not finite.
    """
    for case in cases:
        with torch.inference_mode():
            _, scores = network(case.frames)
        if not torch.isfinite(scores).all():
            raise ExportError("activations exceed the range of float16 (65504); export with --precision fp32")


def compare(path: Path, cases: list[Case], precision: str) -> Agreement:
    """Run the ONNX file in ONNX Runtime on the CPU and hold its labels against the upstream network's.

    Raises:
        ExportError: a label differs where the upstream network's two best classes are no tie.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    equal = pixels = 0
    for case in cases:
        labels = torch.from_numpy(session.run(["labels"], {"frames": case.frames.numpy()})[0].astype(np.int64))
        differs = labels != case.logits.argmax(1)
        _check_ties(case, labels, differs, TIE[precision])
        equal += int((~differs).sum())
        pixels += differs.numel()
    return Agreement(equal, pixels, tuple(tuple(case.frames.shape[1:3]) for case in cases))


def _check_ties(case: Case, labels: Tensor, differs: Tensor, tie: float) -> None:
    """Margin by which the reference prefers its own label to the one that came, relative to its range of logits."""
    chosen = case.logits.gather(1, labels[:, None]).squeeze(1)
    margin = (case.logits.amax(1) - chosen) / (case.logits.amax() - case.logits.amin()).clamp_min(1e-30)
    worst = float(margin[differs].max()) if differs.any() else 0.0
    if worst > tie:
        height, width = case.frames.shape[1:3]
        raise ExportError(
            f"at {height}x{width}, {int(differs.sum())} of {differs.numel()} labels differ from torch's by up to "
            f"{worst:.2g} of the range of scores (allowed: {tie:g}); please report this checkpoint"
        )


def _normalised(frames: Tensor, contract: InputContract, color: str) -> Tensor:
    x = frames.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
    if color != contract.color:
        x = x.flip(1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (contract.mean, contract.std))
    return (x * contract.scale - mean) / std


def _textured_frames(batch: int, height: int, width: int, seed: int) -> Tensor:
    """Smooth colours with noise, so that labels vary over the picture; uint8 (N, H, W, 3)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 4, 5, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    noise = 0.1 * torch.randn(batch, 3, height, width, generator=generator)
    return ((smooth + noise) * 255).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
