"""What an inference engine must do for a Segmenter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..contract.spec import ModelSpec
from ..contract.types import Confidence, Frames, Labels, Scores, Shape, label_dtype
from ..contract.windows import PictureFrames, Window
from ..gpu.arrays import DeviceArray, DeviceFrames, DeviceView

if TYPE_CHECKING:
    from .tiling.grid import Grid

Tile = Literal["auto", "off"] | int  # which frames are computed in tiles; the side of a square, in pixels


@dataclass(frozen=True)
class Options:
    """How a Segmenter wants its engine; the fields are the Segmenter's own arguments."""

    device: str = "auto"
    threads: int | None = None
    color: Literal["rgb", "bgr"] | None = None
    input_size: tuple[int, int] | None = None
    antialias: bool = True
    graphs: bool = True
    engine: Literal["auto", "onnxruntime", "openvino"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    require_parity: float | None = None
    tile: Tile = "auto"


class Backend(ABC):
    """A loaded model. The Segmenter checks frames first and calls from one thread at a time.

    Attributes:
        spec: what the model file says of itself.
        device: where the network runs, "cpu" or "cuda:0".
        engine: name and version of what runs it there.
        precision: that it is computed in, which on the CPU may be another than the file's.
        in_flight: how many submitted batches keep it busy.
        observer: called with the name of each stage of the work when that has ended, in the thread that does it; None
            for nobody. For measuring alone: a GPU is waited for after each stage.
    """

    spec: ModelSpec
    device: str
    engine: str
    precision: str
    in_flight: int
    observer: Callable[[str], None] | None = None

    @abstractmethod
    def check_shape(self, shape: Shape) -> None:
        """Raise FrameError where the file was not made for frames of this shape, as the network would see them."""

    def grid(self, shape: Shape) -> Grid | None:
        """The tiles that frames of a shape are computed in; None where they are computed whole."""
        return None

    @abstractmethod
    def submit(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> Callable[[], None]:
        """Begin to label frames, which must stay as they are until the function that comes back has returned.

        Args:
            frames: as the Segmenter checked them.
            labels: written to, of the frames' batch, height and width.
            confidence: written to, of the same shape: the probability of each label; None to do without.

        Returns:
            A function that waits until the results are there. Submissions are done in their order.

        Raises:
            BackendError: the engine failed, here or in the function.
        """

    def label(self, frames: Frames, labels: Labels, confidence: Confidence | None = None) -> None:
        """Label frames and wait; the arguments are those of `submit`."""
        self.submit(frames, labels, confidence)()

    def windows(self, picture: PictureFrames) -> Iterator[Window]:
        """Label a picture part by part, the last rows first; as a whole where it is not computed in tiles.

        Raises:
            BackendError: the engine failed.
            Whatever reading the picture raises.
        """
        labels = np.empty(picture.frames, label_dtype(len(self.spec.classes)))
        self.label(picture.whole(), labels)
        yield Window(slice(0, labels.shape[1]), slice(0, labels.shape[2]), labels[0])

    @abstractmethod
    def scores(self, frames: Frames) -> Scores:
        """The logits before the last upsampling, in an array that the next call may overwrite.

        Raises:
            BackendError: the engine failed.
            UsageError: the file's engine has no scores to show.
        """

    def label_on_device(
        self, frames: DeviceFrames, stream: int, labels: DeviceView | None, confidence: DeviceView | None
    ) -> DeviceArray | None:
        """Enqueue the labelling of frames in device memory, in the order of the caller's stream; on GPUs only.

        Args:
            frames: on this backend's device.
            stream: handle of the caller's stream; the host does not wait for it.
            labels: written to; None for a new array.
            confidence: written to; None to do without.

        Returns:
            The new array, if one was made.

        Raises:
            BackendError: the engine failed.
        """
        raise NotImplementedError(f"frames in device memory on the {self.device}")

    @abstractmethod
    def run_network(self, frames: Frames, times: int) -> None:
        """Run the network alone on the same frames several times in a row, and wait: for measuring.

        Raises:
            BackendError: the engine failed.
        """

    @abstractmethod
    def clone(self) -> Backend:
        """Another one for another thread."""

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds; a second call does nothing."""

    def _mark(self, stage: str) -> None:
        """Tell the observer, if there is one, that a stage has ended."""
        if self.observer is not None:
            self.observer(stage)
