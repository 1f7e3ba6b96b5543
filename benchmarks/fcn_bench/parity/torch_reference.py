"""The reference that parity is measured against: a checkpoint in torch, float32, as its upstream would run it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fcn_export.checkpoint_options import CheckpointOptions, InputFacts
from fcn_export.checkpoints.contracts import NOTHING, described
from fcn_export.checkpoints.opening import open_checkpoint
from fcn_export.errors import ExportError
from fcnrt.contract.spec import ModelSpec
from fcnrt.contract.types import label_dtype
from fcnrt.errors import first_line

from .artefacts import hardware_of

PLAIN = CheckpointOptions()


class Preference(NamedTuple):
    """What the reference prefers at each pixel: labels (H, W), and margins (H, W) float32, its lead over the second.

    Margins are differences of full-size logits, and so logarithms of how many times as likely the first class is.
    """

    labels_hw: npt.NDArray[Any]
    margins_hw: npt.NDArray[np.float32]


class TorchReference:
    """A checkpoint's network before anything is rewritten: recognised and normalised as export/to_onnx.py does.

    Args:
        checkpoint: its file, or the name of torchvision's weights.
        options: what the file cannot tell.
        device: a torch device; on GPUs TF32 is turned off.

    Attributes:
        name: family and variant.
        input: what it was trained on, in words, and who says so.
        classes: how many there are.
        sha256: of the checkpoint's file.
        device, hardware: where torch computes, and that device's own name.

    Raises:
        ExportError: the checkpoint cannot be read or recognised; the text says what to do.
    """

    def __init__(
        self,
        checkpoint: str,
        options: CheckpointOptions = PLAIN,
        device: str = "cpu",
    ):
        opened = open_checkpoint(checkpoint, options)
        self._contract, self._net = opened.contract, opened.net.to(device)
        self.name, self.classes = f"{self._net.family} {self._net.variant}", self._net.classes
        self.sha256 = opened.checkpoint.sha256
        self.input = f"{described(opened.contract)}, {opened.contract_source}"
        self.device = device
        self.hardware = hardware_of("cpu") if device == "cpu" else torch.cuda.get_device_name(device)
        if device != "cpu":  # for the whole process, which the CPU need not disturb
            for backend in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):
                backend.fp32_precision = "ieee"

    def __call__(self, frame_hwc: npt.NDArray[np.uint8]) -> Preference:
        """Label a frame.

        Args:
            frame_hwc: uint8 (H, W, 3), RGB.

        Raises:
            ExportError: the frame is smaller than the network takes, larger than the memory, or the logits are not
                finite.
        """
        height, width = frame_hwc.shape[:2]
        if min(height, width) < self._net.min_size:
            least = self._net.min_size
            raise ExportError(f"frames: {self.name} takes them from {least}x{least} up, got {height}x{width}")
        try:
            return self._preference(torch.from_numpy(np.ascontiguousarray(frame_hwc))[None])
        except RuntimeError as error:
            raise ExportError(f"torch cannot run {self.name} at {height}x{width} ({first_line(error)})") from error

    @torch.inference_mode()
    def _preference(self, frames: torch.Tensor) -> Preference:
        logits = self._net(self._contract.normalise(frames, "rgb").to(self.device))  # (1, C, H, W)
        if not torch.isfinite(logits).all():
            raise ExportError("the checkpoint's network gives scores that are not finite; is it trained and complete?")
        best, labels = logits.max(1)
        logits.scatter_(1, labels[:, None], -torch.inf)
        margins = best - logits.amax(1)
        return Preference(labels[0].cpu().numpy().astype(label_dtype(self.classes)), margins[0].cpu().numpy())


def as_exported(checkpoint: str, stated: CheckpointOptions, specs: Sequence[ModelSpec]) -> CheckpointOptions:
    """How a checkpoint is to be read: as stated, and for the rest as the models made from it say.

    Args:
        checkpoint: its file, or the name of torchvision's weights.
        stated: what the command line says.
        specs: of the models; the first that was made from this very file, and says how, is believed.
    """
    path = Path(checkpoint)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    spec = next((spec for spec in specs if spec.checkpoint_sha256 == digest and spec.input_color), None)
    if spec is None:
        return stated
    structured = stated.output_stride is not None or stated.align_corners is not None
    variant = stated.variant or (None if structured else spec.variant)
    facts = stated.input if stated.input != NOTHING else _input_of(spec)
    return replace(stated, family=stated.family or spec.family, variant=variant, input=facts)


def _input_of(spec: ModelSpec) -> InputFacts:
    """What a model says of the training, channels in the order that they had there."""
    step = 1 if spec.color == spec.input_color else -1
    return InputFacts(spec.input_color, spec.scale, spec.mean[::step], spec.std[::step])  # type: ignore[arg-type]
