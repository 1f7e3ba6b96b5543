"""What a sink takes of a labelled frame, in the host's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...contract.types import Array, UInt8Array
from ...errors import MediaError
from ..frames import Labelled


def host_pixels(labelled: Labelled) -> UInt8Array:
    """The frame's pixels; raises MediaError where they are not in the host's memory."""
    pixels = labelled.frame.pixels
    if not isinstance(pixels, np.ndarray):
        raise MediaError(f"frame: expected pixels in the host's memory, got {type(pixels).__name__}; decode on the CPU")
    return pixels


def host_labels(labelled: Labelled) -> Array:
    """The labels, copied to the host where they are on a GPU."""
    return _host_array(labelled.labels)


def host_confidence(labelled: Labelled) -> UInt8Array | None:
    """The confidence, copied to the host where it is on a GPU; None where the pipeline was not asked for it."""
    return None if labelled.confidence is None else _host_array(labelled.confidence)


def _host_array(array: Any) -> Array:
    host: Array = array if isinstance(array, np.ndarray) else array.numpy()
    return host
