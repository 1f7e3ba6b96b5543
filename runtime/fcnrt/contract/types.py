"""Types of arrays, once for everything that passes them on."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[Any]  # uint8, or uint16 for more than 256 classes
