"""Precisions by the names that files and command lines have for them."""

from __future__ import annotations

from enum import Enum

import numpy as np


class Precision(str, Enum):
    """Type of a network's weights and activations, or of its scores; a member is equal to its name.

    What a package calls the type stands in a table of that package's own module.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of numpy arrays that hold such numbers."""
        return np.dtype({"fp32": np.float32, "fp16": np.float16, "int8": np.int8}[self.value])

    def __str__(self) -> str:
        return self.value


FLOATS = (Precision.FP32, Precision.FP16)  # what scores, and convolutions outside of Q/DQ, are computed in
