"""What moves through a pipeline, and what its two ends promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from .statistics import Statistics

Self = TypeVar("Self")


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame.

    Attributes:
        pixels: (H, W, 3) uint8, RGB, upright; nobody else writes to it. An `Nv12Frame` where the source decodes on
            the GPU.
        time: when it is to be shown, in seconds after the first frame of its source; never falls.
        number: 0, 1, 2 ... as decoded. Frames dropped on the way leave gaps.
        decoded_at: `time.monotonic()` when it was decoded, in seconds.
    """

    pixels: Any
    time: Fraction
    number: int
    decoded_at: float


class StopRequested(Exception):
    """Raised by a sink that wants no more, such as a window that was closed; no error, the pipeline just ends."""


class _FrameAndLabels(NamedTuple):
    frame: Frame
    labels: Any


class Labelled(_FrameAndLabels):
    """A frame and its labels, (H, W) uint8, or uint16 where the model has more than 256 classes.

    Attributes:
        confidence: (H, W) uint8, the probability of each label, 255 for 1; None where the pipeline was not asked for
            it.
    """

    confidence: Any = None


class FrameSource(Protocol):
    """Frames from a file, a camera, a network stream, pictures: iterated once, by one thread, then closed.

    Attributes:
        name: what messages call it.
        size: (height, width) of the first frame in pixels, upright; later ones may differ.
        rate: nominal frames per second, or None where the source does not say.
        frame_count: how many frames there will be, as far as the source claims to know, or None.
        color: "rgb", or "nv12" for frames on the GPU.
        live: whether it does not wait for its reader, as a camera does not.
        faults: what was survived so far, by name and number, such as {"corrupt packets": 3}.
    """

    name: str
    size: tuple[int, int]
    rate: Fraction | None
    frame_count: int | None
    color: Literal["rgb", "nv12"]
    live: bool
    faults: Counter[str]

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; raises MediaError where they end before their time."""
        ...

    def close(self) -> None:
        """Let the file or device go; may be called twice, and from another thread while it is iterated."""
        ...

    def __enter__(self: Self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...


def pixel_aspect_of(source: FrameSource) -> Fraction:
    """Width by height of a pixel of a source's pictures; 1 where the source does not say."""
    return Fraction(getattr(source, "pixel_aspect", 1))


class Sink(Protocol):
    """Where labelled frames go. `draw` and `write` run in two threads, one behind the other, each in order.

    Attributes:
        name: what messages and statistics call it.
        in_main_thread: whether both must run in the thread that runs the pipeline, as a window's must.
    """

    name: str
    in_main_thread: bool

    def draw(self, labelled: Labelled) -> Any:
        """Make of a labelled frame what `write` takes; touches no file."""
        ...

    def write(self, drawn: Any) -> None:
        """Write what `draw` made; raises MediaError where that fails."""
        ...

    def close(self) -> None:
        """Finish: what was written until now becomes a whole file; may be called twice.

        Raises:
            MediaError: it cannot be finished.
        """
        ...


@runtime_checkable
class Observer(Protocol):
    """A sink that wants to know how the pipeline does."""

    def observe(self, statistics: Callable[[], Statistics]) -> None:
        """Take a function that tells, from any thread, what has been done so far."""
        ...
