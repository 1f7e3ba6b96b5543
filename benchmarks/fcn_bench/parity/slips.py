"""Slips of scripts that normalise by hand, call an exported network, and take the argmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fcn_export.families import Fcn, InputContract
from fcnrt.contract.types import UInt8Array

SMALL = (256, 256)  # height and width that many tutorials resize to


class Slip(NamedTuple):
    """One way to prepare frames otherwise than the training did.

    Attributes:
        title: what was done.
        believed: the contract that the script follows, given that of the training.
        size: (height, width) that frames are resized to, and labels back from, nearest neighbours; None: as they are.
    """

    title: str
    believed: Callable[[InputContract], InputContract] = lambda contract: contract
    size: tuple[int, int] | None = None


def _other_order(contract: InputContract) -> InputContract:
    """Frames in the other order than the network's, which the script does not swap: with RGB frames, it swaps them."""
    return replace(contract, color="bgr" if contract.color == "rgb" else "rgb")


def _without_mean(contract: InputContract) -> InputContract:
    return replace(contract, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _other_scale(contract: InputContract) -> InputContract:
    return replace(contract, scale=1.0 if contract.scale < 1 else 1 / 255)


def _all_of_it(contract: InputContract) -> InputContract:
    return _other_order(_without_mean(contract))


AS_TRAINED = Slip("as trained")
SLIPS = (
    AS_TRAINED,
    Slip("channels swapped: cv2.imread gives BGR", _other_order),
    Slip("mean and deviation forgotten", _without_mean),
    Slip("frames of 0 to 255 taken for 0 to 1, or the reverse", _other_scale),
    Slip("resized to 256x256, labels stretched back", size=SMALL),
    Slip("five lines: BGR, no mean, 256x256, labels stretched back", _all_of_it, SMALL),
)


@torch.inference_mode()
def labels_with(slip: Slip, net: Fcn, contract: InputContract, frame_hwc: UInt8Array) -> UInt8Array:
    """Label a frame with the slip.

    Args:
        slip: what is done wrong.
        net: the network, in eval mode.
        contract: what it was trained on.
        frame_hwc: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (H, W).
    """
    size = frame_hwc.shape[:2]
    x = slip.believed(contract).normalise(torch.from_numpy(np.ascontiguousarray(frame_hwc))[None], "rgb")
    labels = net(_resized(x, slip.size or size, "bilinear")).argmax(1, keepdim=True)
    return _resized(labels.float(), size, "nearest")[0, 0].byte().numpy()


def _resized(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """x (N, C, H, W) at another height and width; the same where it has them."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode=mode, align_corners=False if mode == "bilinear" else None)
