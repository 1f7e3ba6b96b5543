"""Decode, segment, draw and encode side by side, each in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..contract.closing import Closing
from ..errors import UsageError
from ..segmenter import Segmenter
from .channels import Channel, Stage
from .frames import Frame, FrameSource, Labelled, Observer, Sink, StopRequested
from .labelling import Labelling
from .statistics import Statistics, stage_statistics

DEPTH = 3  # frames between two stages of a file's pipeline
CLOSING_S = 2.0  # to wait for a source's thread, which may be held by a silent network


_PLAIN = Labelling()


class Pipeline(Closing):
    """Labels the frames of a source and hands them to sinks, in order, each stage in a thread of its own.

    A file waits for the slowest stage: no frame is lost. A live source does not wait: between any two stages the newest
    frame takes the place of one that still waits, which is dropped and counted. So a stage always gets the newest frame
    that the stage before it has done.

        with open_source("street.mp4") as source, Pipeline(source, segmenter) as pipeline:
            for frame, labels in pipeline:
                ...

    At the end, whatever brought it about, the sinks are closed, so that their files are whole, and the source too.
    A pipeline runs once.

    Args:
        source: where frames come from.
        segmenter: what labels them; in use while the pipeline runs.
        sinks: where labelled frames go.
        labelling: what is made of each frame; those on a GPU are labelled as a whole, without confidence.

    Raises:
        UsageError: a sink is named twice, or more is asked of frames on a GPU.
    """

    def __init__(
        self,
        source: FrameSource,
        segmenter: Segmenter,
        sinks: Sequence[Sink] = (),
        labelling: Labelling = _PLAIN,
    ) -> None:
        if len({id(sink) for sink in sinks}) < len(sinks):
            raise UsageError("sinks: expected each one once, got one of them twice; make a second one")
        if source.color == "nv12" and labelling != _PLAIN:
            raise UsageError(
                "labelling: expected none for frames on the GPU, got a region or confidence; decode on the CPU"
            )
        self._source = source
        depth = 1 if source.live else DEPTH
        self._decoded: Channel[Frame] = Channel(depth, drop_oldest=source.live)
        self._labelled: Channel[Labelled] = Channel(depth, drop_oldest=source.live)
        self._decode = Stage("decode", source, _frame_time, output=self._decoded)
        # The stages fetch ahead: more frames in flight than keep the engine busy would only grow old.
        in_flight = 1 if source.live else segmenter.in_flight
        labelled = (
            _label_on_device(segmenter, self._decoded)
            if source.color == "nv12"
            else labelling.stream(segmenter, self._decoded, in_flight)
        )
        self._segment = Stage("segment", labelled, _labelled_time, source=self._decoded, output=self._labelled)
        self._branches = [_Branch(sink, depth, source.live) for sink in sinks if not sink.in_main_thread]
        self._windows = [sink for sink in sinks if sink.in_main_thread]
        self._delivered, self._started, self._ended = 0, 0.0, 0.0
        for sink in sinks:
            if isinstance(sink, Observer):
                sink.observe(lambda: self.statistics)

    def run(self) -> Statistics:
        """Run until the source ends.

        Returns:
            the statistics of the whole run.

        Raises:
            MediaError: of the source or of a sink.
            FrameError, UsageError, BackendError: of the Segmenter; UsageError also where it has run already.
        """
        for _ in self:
            pass
        return self.statistics

    def __iter__(self) -> Generator[Labelled, None, None]:
        """Yield (frame, labels) as they go to the sinks; the rest as in `run`. Leaving the loop ends the pipeline."""
        if self._started:
            raise UsageError("pipeline: it has run already; make a new one")
        self._started = time.perf_counter()
        try:
            for stage in self._stages:
                stage.start()
            for labelled in self._labelled:
                if not self._hand_on(labelled):
                    break
                self._delivered += 1
                yield labelled
        except StopRequested:
            pass
        finally:
            try:
                errors = self._finish()
            except KeyboardInterrupt:  # what is left is to be finished nevertheless
                self._finish()
                raise
        for error in errors:
            raise error

    @property
    def statistics(self) -> Statistics:
        """What was done so far; may be asked from any thread, while it runs and afterwards."""
        now = self._ended or time.perf_counter()
        return Statistics(
            stages=stage_statistics(self._stages),
            seconds=now - self._started if self._started else 0.0,
            decoded=self._decode.count,
            labelled=self._segment.count,
            delivered=self._delivered,
            dropped=self._decoded.dropped + self._labelled.dropped,
            faults=dict(self._source.faults),
        )

    def close(self) -> None:
        """End the run: what the sinks have got is finished, other frames are let go; from any thread, and twice."""
        self._decoded.cancel()
        self._labelled.cancel()

    @property
    def _stages(self) -> list[Stage[Any]]:
        return [self._decode, self._segment, *(stage for branch in self._branches for stage in branch.stages)]

    def _hand_on(self, labelled: Labelled) -> bool:
        """Give the sinks a labelled frame; False where one of them has failed."""
        for window in self._windows:
            window.write(window.draw(labelled))
        return all([branch.inbox.put(labelled) for branch in self._branches])

    def _finish(self) -> list[BaseException]:
        """End all threads and close sinks and source, whatever fails; the errors of that and of the sinks."""
        self.close()
        errors = [error for branch in self._branches for error in branch.finish()]
        errors += [error for window in self._windows for error in _closed(window)]
        self._source.close()
        self._segment.join()
        self._decode.join(CLOSING_S)
        self._ended = time.perf_counter()
        return errors


class _Branch:
    """The two threads of a sink."""

    def __init__(self, sink: Sink, depth: int, live: bool) -> None:
        self.inbox: Channel[Labelled] = Channel(depth, drop_oldest=live)
        drawn: Channel[_Drawn] = Channel(depth, drop_oldest=live)
        self._sink = sink
        self._draw = Stage(f"draw {sink.name}", _draw(sink, self.inbox), _drawn_time, source=self.inbox, output=drawn)
        self._write = Stage(f"write {sink.name}", _write(sink, drawn), _drawn_time, source=drawn)

    @property
    def stages(self) -> tuple[Stage[Any], ...]:
        return self._draw, self._write

    def finish(self) -> list[BaseException]:
        """Let the sink have what it was given, and close it; what went wrong with it."""
        self.inbox.end()
        for stage in self.stages:
            stage.join()
        error = self._write.error
        errors = [] if error is None or isinstance(error, StopRequested) else [error]
        return [*errors, *_closed(self._sink)]


class _Drawn(NamedTuple):
    frame: Frame
    drawn: Any


def _label_on_device(segmenter: Segmenter, frames: Iterable[Frame]) -> Iterator[Labelled]:
    return (Labelled(frame, segmenter(frame.pixels)) for frame in frames)


def _draw(sink: Sink, inbox: Iterable[Labelled]) -> Iterator[_Drawn]:
    return (_Drawn(labelled.frame, sink.draw(labelled)) for labelled in inbox)


def _write(sink: Sink, drawings: Iterable[_Drawn]) -> Iterator[_Drawn]:
    for drawing in drawings:
        sink.write(drawing.drawn)
        yield drawing


def _closed(sink: Sink) -> list[BaseException]:
    try:
        sink.close()
    except Exception as error:  # of any kind where the sink is the user's own: others are still to be closed
        return [error]
    return []


def _frame_time(frame: Frame) -> float:
    return frame.decoded_at


def _labelled_time(labelled: Labelled) -> float:
    return labelled.frame.decoded_at


def _drawn_time(drawing: _Drawn) -> float:
    return drawing.frame.decoded_at
