"""What goes into an ONNX file and what comes out: bytes to labels, or what servers take that know no bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from .types import MAX_UINT8
from .validation import one_of

Input = Literal["nhwc-uint8", "nchw-float"]
InputRange = Literal["0-255", "normalised"]
Output = Literal["labels", "labels-int32", "scores-float"]


@dataclass(frozen=True)
class Tensor:
    """An outer tensor: its name, numpy's name of its type, its sizes, None where any will do."""

    name: str
    dtype: str
    sizes: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.sizes)
        return f"{self.name} {self.dtype} ({sizes})"


@dataclass(frozen=True)
class Interface:
    """The outer tensors of a file.

    - ``nhwc-uint8``    `frames` uint8 (N, H, W, 3)
    - ``nchw-float``    `frames` float32 (N, 3, H, W): of ``0-255``, or ``normalised`` as the network was trained
    - ``labels``        `labels` uint8 (N, H, W), int32 beyond 256 classes
    - ``labels-int32``  `labels` int32 (N, H, W)
    - ``scores-float``  `logits` float32 (N, C, H, W), of the frames' size

    Channels are in the file's `color` order in each of them.
    """

    input: Input = "nhwc-uint8"
    input_range: InputRange = "0-255"
    output: Output = "labels"

    @property
    def planes(self) -> bool:
        """Whether frames come as planes of floats."""
        return self.input == "nchw-float"

    @property
    def frame_axes(self) -> tuple[int, int, int]:
        """Where batch, height and width stand in `frames`."""
        return (0, 2, 3) if self.planes else (0, 1, 2)

    @property
    def output_axes(self) -> tuple[int, int, int]:
        """Where batch, height and width stand in the output."""
        return (0, 2, 3) if self.output == "scores-float" else (0, 1, 2)

    def input_tensor(self) -> Tensor:
        """The only input."""
        if self.planes:
            return Tensor("frames", "float32", (None, 3, None, None))
        return Tensor("frames", "uint8", (None, None, None, 3))

    def output_tensor(self, classes: int) -> Tensor:
        """The only output."""
        if self.output == "scores-float":
            return Tensor("logits", "float32", (None, classes, None, None))
        small = self.output == "labels" and classes <= MAX_UINT8
        return Tensor("labels", "uint8" if small else "int32", (None, None, None))


def parse_interface(value: Any) -> Interface:
    """An interface as JSON gives it; raises KeyError, TypeError or ValueError."""
    parsers = {"input": one_of(*get_args(Input)), "input_range": one_of(*get_args(InputRange))}
    parsers["output"] = one_of(*get_args(Output))
    return Interface(**{key: parse(value[key]) for key, parse in parsers.items()})


def written_interface(interface: Interface) -> dict[str, str]:
    """An interface as a JSON object."""
    return asdict(interface)
