"""What an engine on the CPU must do: run a part of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..contract.types import Array, Frames, Scores
from .tiling.locality import LocalTensor

MAX_SHAPES = 8  # shapes whose tables or buffers are kept


@dataclass(frozen=True)
class Part:
    """What a network computes of its model: everything between two rows of tensors.

    Attributes:
        inputs: by name; none for the frames.
        outputs: by name; none for the scores.
    """

    inputs: Mapping[str, LocalTensor] = field(default_factory=dict)
    outputs: Mapping[str, LocalTensor] = field(default_factory=dict)


WHOLE = Part()


class CpuNetwork(ABC):
    """An engine on the CPU: the part between frames and scores, or another, for one thread at a time.

    Attributes:
        engine: its name and version.
        precision: that it really computes in what the file has in floats, "fp32" or "bf16".
    """

    engine: str
    precision: str

    @abstractmethod
    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for inputs, in arrays that the next call may overwrite; raises BackendError."""

    def scores(self, frames: Frames) -> Scores:
        """The scores of frames, in an array that the next call may overwrite; raises BackendError."""
        return self.run([frames])[0]

    @abstractmethod
    def clone(self) -> CpuNetwork:
        """One for another thread, with the same weights in memory."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds; a second call does nothing."""
