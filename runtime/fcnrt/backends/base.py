"""What an inference engine must do for a Segmenter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..spec import ModelSpec

Frames = npt.NDArray[np.uint8]  # (N, H, W, 3), C-contiguous
Labels = npt.NDArray[Any]  # (N, H, W), uint8, or uint16 for more than 256 classes
Scores = npt.NDArray[np.float32]  # (N, C, h, w)


class Backend(ABC):
    """A loaded model. The Segmenter checks frames first and calls from one thread at a time.

    Attributes:
        spec: what the model file says of itself.
        device: where the network runs, "cpu" or "cuda:0".
        fixed_shape: (batch, height, width) that the file was fixed to, None where it is free.
    """

    spec: ModelSpec
    device: str
    fixed_shape: tuple[int | None, int | None, int | None]

    @abstractmethod
    def labels(self, frames: Frames, out: Labels) -> None:
        """Write the labels of `frames` to `out`, an array of the frames' batch, height and width.

        Raises:
            BackendError: the engine failed.
        """

    @abstractmethod
    def scores(self, frames: Frames) -> Scores:
        """The logits before the last upsampling, in an array that the next call may overwrite.

        Raises:
            BackendError: the engine failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds; a second call does nothing."""
